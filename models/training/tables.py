"""What retrieval learns by counting: clusters, neighbours, popularity and the user snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.artifacts import rounded
from models.data.columns import Dataset
from models.training.config import RetrievalConfig
from models.training.factors import learn_factors
from models.training.neighbours import learn_neighbours
from retrieval.clusters import Clusters, fit_clusters
from retrieval.factors import Factors
from retrieval.index import IndexSettings, VectorIndex, build_index, check_finite
from retrieval.neighbours import Neighbours

Floats = NDArray[np.float32]

HALF_LIFE_SHARE = 0.25
"""Popularity halves over this share of the time that the events span (our choice)."""


@dataclass(frozen=True)
class Tables:
    """Counted from one set of events: `neighbours`, `popularity` [placements, m], and perhaps `factors`."""

    neighbours: Neighbours
    popularity: Floats
    factors: Factors | None = None

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        events: NDArray[np.int64],
        config: RetrievalConfig,
        seed: int = 0,
        threads: int = 1,
    ) -> Tables:
        """Count the given events."""
        return cls(
            learn_neighbours(dataset, events, config),
            decayed_popularity(dataset, events),
            learn_factors(dataset, events, config, seed, threads),
        )


@dataclass(frozen=True)
class Space:
    """The item space of one tower: vectors [m, d + 1], their clusters and the index over them."""

    vectors: Floats
    clusters: Clusters
    index: VectorIndex

    @classmethod
    def of(
        cls,
        vectors: Floats,
        config: RetrievalConfig,
        seed: int,
        threads: int,
        names: Sequence[str] | None = None,
    ) -> Space:
        """Cluster the directions and index the whole vectors; `names` [m] are the items' ids.

        All of them read the vectors as the bundle will keep them, in half precision.

        Raises:
            NotFinite: a vector is not finite; names the item.
        """
        check_finite(vectors, names)
        vectors = rounded(vectors)
        clusters = fit_clusters(vectors[:, :-1], config.clusters, seed)
        settings = IndexSettings(config.index)
        index = build_index(vectors, settings, seed, threads=threads, clusters=clusters.centroids)
        return cls(vectors, clusters, index)


def decayed_popularity(dataset: Dataset, events: NDArray[np.int64]) -> Floats:
    """Event counts per placement and item, an event's weight halving with age: [placements, m].

    Where times are made up, all events weigh the same.
    """
    time_ms = dataset.event_time_ms[events].astype(np.float64) * (dataset.order == "time")
    span = max(float(np.ptp(time_ms)) if len(time_ms) else 0.0, 1.0)
    weight = 0.5 ** ((time_ms.max(initial=0.0) - time_ms) / (span * HALF_LIFE_SHARE))
    cell = dataset.event_placement[events].astype(np.int64) * dataset.items + dataset.event_item[events]
    size = len(dataset.placements) * dataset.items
    counts = np.bincount(cell, weights=weight, minlength=size)
    return counts.reshape(len(dataset.placements), dataset.items).astype(np.float32)
