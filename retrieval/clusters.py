"""Item clusters: spherical k-means over item vectors."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.threads import bound_threads

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Clusters:
    """`centroids` [C, d] float32 of unit length; `assignment` [m] int32, the cluster of each item."""

    centroids: Floats
    assignment: Rows


def fit_clusters(
    vectors: Floats, count: int, seed: int, *, iterations: int = 20, threads: int = 1
) -> Clusters:
    """Cluster the directions of `vectors` [m, d] into `min(count, m)` clusters.

    The same vectors, seed and threads give the same clusters. Vectors need not be of unit length; a zero
    vector lands in some cluster.

    Raises:
        ValueError: there is no vector, `count` is not positive, or a component is not finite.
    """
    if len(vectors) == 0 or count < 1:
        raise ValueError(f"cannot make {count} clusters of {len(vectors)} vectors")
    if not np.isfinite(vectors).all():
        raise ValueError("a vector has a component that is not finite")
    bound_threads(threads)
    units = unit(vectors)
    kmeans = faiss.Kmeans(
        units.shape[1],
        min(count, len(units)),
        niter=iterations,
        spherical=True,
        seed=seed,
        min_points_per_centroid=1,
    )
    kmeans.train(units)
    centroids = unit(np.asarray(kmeans.centroids, np.float32))
    return Clusters(centroids, assign(units, centroids, threads=threads))


def assign(vectors: Floats, centroids: Floats, *, threads: int = 1) -> Rows:
    """The cluster of largest inner product [m] of `vectors` [m, d]; `centroids` [C, d]."""
    bound_threads(threads)
    exact = faiss.IndexFlatIP(centroids.shape[1])
    exact.add(np.ascontiguousarray(centroids, np.float32))
    _, nearest = exact.search(np.ascontiguousarray(vectors, np.float32), 1)
    return np.maximum(nearest[:, 0], 0).astype(np.int32)


def unit(vectors: Floats) -> Floats:
    """Rows of `vectors` scaled to unit length; a zero row stays zero."""
    length = np.sqrt(np.add.reduce(vectors * vectors, axis=-1, keepdims=True))
    return np.ascontiguousarray(vectors / np.maximum(length, 1e-12), np.float32)
