"""The cells of an inverted-list index: the item clusters where their number suits, else its own."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SUITS = (0.4, 1.25)
"""Clusters become cells when there are that many times sqrt(m) of them.

Measured (docs/adr/0009): in this range shared cells are as fast as own ones at equal recall and save a second
k-means. With fewer cells a query reads too much of the table, with more it misses too many of the best 200.
"""
_SAMPLE = 128
"""Vectors per cell that k-means sees at most."""


def centres(vectors: Floats, lists: int, seed: int, clusters: Floats | None = None) -> Floats:
    """Cell centres [C, d] for `vectors` [m, d]; `lists` 0 = the clusters if their number suits, else sqrt(m).

    `clusters` [C, d or less] are padded with zeros: the bias dimension has no part in a cluster. Never more
    cells than vectors.
    """
    root = len(vectors) ** 0.5
    if clusters is not None and _suits(len(clusters), lists, root):
        gap = vectors.shape[1] - clusters.shape[1]
        return np.pad(np.asarray(clusters, np.float32), ((0, 0), (0, gap)))
    return _own(vectors, min(lists or round(root), len(vectors)) or 1, seed)


def _suits(count: int, lists: int, root: float) -> bool:
    return count == lists if lists else SUITS[0] * root <= count <= SUITS[1] * root


def _own(vectors: Floats, count: int, seed: int) -> Floats:
    """Spherical k-means over whole vectors, so that a wide bias has cells, too."""
    kmeans = faiss.Kmeans(
        vectors.shape[1],
        count,
        niter=10,
        spherical=True,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=_SAMPLE,
    )
    kmeans.train(vectors)
    return np.asarray(kmeans.centroids, np.float32)
