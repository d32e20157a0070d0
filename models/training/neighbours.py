"""Ways to learn item-to-item lists, by name. Each is one function from a set of events to `Neighbours`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.data.columns import Dataset
from models.training.config import RetrievalConfig
from retrieval.neighbours import Neighbours, build_neighbours, top_neighbours

EASE_LIMIT = 5_000
"""Items up to which "auto" solves EASE: it inverts an [m, m] matrix."""

Events = NDArray[np.int64]


def cooccurrence(dataset: Dataset, events: Events, config: RetrievalConfig) -> Neighbours:
    """Cosine of co-occurrence with shrinkage, for any number of items; see `build_neighbours`."""
    return build_neighbours(
        dataset.event_user[events],
        dataset.event_item[events],
        dataset.items,
        config.neighbours,
        shrinkage=config.shrinkage,
    )


def ease(dataset: Dataset, events: Events, config: RetrievalConfig) -> Neighbours:
    """The largest positive weights of EASE (arXiv 1905.03375): B = I - P diag(P)^-1, P = (X^T X + l2 I)^-1.

    A weight says what an item adds beside all others, so that popular items do not crowd the lists.
    """
    seen = np.unique(dataset.event_user[events].astype(np.int64) * dataset.items + dataset.event_item[events])
    matrix = np.zeros((dataset.users, dataset.items), np.float32)
    matrix.ravel()[seen] = 1.0
    gram = (matrix.T @ matrix).astype(np.float64)
    gram[np.diag_indices_from(gram)] += config.ease_l2
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    # Row i of the lists is what event i speaks for: score(j) = sum over events i of B[i, j].
    return top_neighbours([weights.astype(np.float32)], config.neighbours)


NEIGHBOUR_METHODS: dict[str, Callable[[Dataset, Events, RetrievalConfig], Neighbours]] = {
    "cooccurrence": cooccurrence,
    "ease": ease,
}


def learn_neighbours(dataset: Dataset, events: Events, config: RetrievalConfig) -> Neighbours:
    """The lists by the configured method.

    Raises:
        ValueError: the method is unknown.
    """
    name = config.neighbour_method
    if name == "auto":
        name = "ease" if dataset.items <= EASE_LIMIT else "cooccurrence"
    if name not in NEIGHBOUR_METHODS:
        raise ValueError(f"unknown neighbour method {name!r}; known are auto, {', '.join(NEIGHBOUR_METHODS)}")
    return NEIGHBOUR_METHODS[name](dataset, events, config)
