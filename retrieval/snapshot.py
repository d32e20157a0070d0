"""A snapshot of sample users: their vectors and sparse mixtures smooth the mixture of a user like them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.clusters import unit

Rows = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float32]
Halves = NDArray[np.float16]

_BLOCK = 1 << 18
"""Events whose item vectors are held at once."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """n users, each with at most S clusters, heaviest first (cluster -1 and weight 0 at pads).

    vectors    [n, d + 1] float32  user vectors, bias weight last
    clusters   [n, S] int32        clusters of the user's events
    weights    [n, S] float32      P(cluster | user); a row sums to 1
    centroids  [n, S, d] float16   the user's weighted mean item direction in that cluster
    """

    vectors: Floats
    clusters: Rows
    weights: Floats
    centroids: Halves

    def __len__(self) -> int:
        return len(self.vectors)

    @classmethod
    def empty(cls, width: int) -> Snapshot:
        """No user at all; item directions have `width` components."""
        return cls(
            np.zeros((0, width + 1), np.float32),
            np.zeros((0, 1), np.int32),
            np.zeros((0, 1), np.float32),
            np.zeros((0, 1, width), np.float16),
        )


def build_snapshot(
    user_vectors: Floats,
    event_users: Rows,
    event_items: Rows,
    event_weights: Floats,
    item_vectors: Floats,
    assignment: Rows,
    *,
    size: int,
    max_users: int,
    seed: int,
    min_events: int = 3,
) -> Snapshot:
    """Sample at most `max_users` users with at least `min_events` events, and compute their mixtures.

    `user_vectors` [U, d + 1]; events are columns [E] of user row, item row and weight (decay and event kind
    included); `item_vectors` [m, d + 1] with the bias last; `assignment` [m]. At most `size` clusters are
    kept per user, and the weights of the kept ones are normalised to 1.
    """
    width = item_vectors.shape[1] - 1
    chosen = _sample(event_users, len(user_vectors), max_users, min_events, seed)
    if len(chosen) == 0:
        return Snapshot.empty(width)
    place = np.full(len(user_vectors), -1, np.int64)
    place[chosen] = np.arange(len(chosen))
    used = (place[event_users] >= 0) & (event_weights > 0)
    cluster = assignment[event_items[used]].astype(np.int64)
    key = place[event_users[used]] * (int(assignment.max()) + 1) + cluster
    order = np.argsort(key, kind="stable")
    key, items = key[order], event_items[used][order]
    weights = event_weights[used][order].astype(np.float64)

    start = np.flatnonzero(np.diff(key, prepend=-1))
    mass = np.add.reduceat(weights, start) if len(start) else np.zeros(0)
    owner, cluster = np.divmod(key[start], int(assignment.max()) + 1)
    kept, rank = _heaviest(owner, mass, size)
    clusters = np.full((len(chosen), size), -1, np.int32)
    shares = np.zeros((len(chosen), size), np.float32)
    centroids = np.zeros((len(chosen), size, width), np.float16)
    clusters[owner[kept], rank] = cluster[kept]
    shares[owner[kept], rank] = mass[kept]
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
    slot = np.full(len(start), -1, np.int64)
    slot[kept] = owner[kept] * size + rank
    flat = centroids.reshape(-1, width)
    for group, means in _means(items, weights, start, item_vectors):
        target = slot[group]
        flat[target[target >= 0]] = means[target >= 0]
    return Snapshot(np.ascontiguousarray(user_vectors[chosen], np.float32), clusters, shares, centroids)


def _sample(event_users: Rows, users: int, at_most: int, min_events: int, seed: int) -> Longs:
    able = np.flatnonzero(np.bincount(event_users, minlength=users) >= max(min_events, 1))
    if len(able) > at_most:
        able = np.sort(np.random.default_rng(seed).choice(able, at_most, replace=False))
    return able


def _heaviest(owner: Longs, mass: NDArray[np.float64], size: int) -> tuple[Longs, Longs]:
    """Positions of each owner's `size` heaviest groups, and their rank within the owner."""
    order = np.lexsort((-mass, owner))
    counts = np.bincount(owner) if len(owner) else np.zeros(0, np.int64)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return order[rank < size], rank[rank < size]


def _means(
    items: Rows, weights: NDArray[np.float64], start: Longs, item_vectors: Floats
) -> Iterator[tuple[slice, Halves]]:
    """Mean directions of consecutive groups of events, a bounded number of events at once."""
    first = 0
    ends = np.append(start[1:], len(items))
    while first < len(start):
        last = max(int(np.searchsorted(ends, start[first] + _BLOCK, side="right")), first + 1)
        part = slice(int(start[first]), int(ends[last - 1]))
        directions = item_vectors[items[part], :-1] * weights[part, None].astype(np.float32)
        sums = np.add.reduceat(directions, start[first:last] - part.start, axis=0)
        yield slice(first, last), unit(sums).astype(np.float16)
        first = last
