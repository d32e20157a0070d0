"""Item-to-item lists: for each item its k most similar, and what a history of events makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.cooccurrence import Interactions
from retrieval.distinct import locate, perhaps_among, representatives
from retrieval.order import descending, top_mask

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Each item's neighbours `rows` [m, k] int32, best first, padded with -1; `scores` [m, k] float32.

    An item is never its own neighbour. Both may be memory maps: only the rows of a history are read.
    """

    rows: Rows
    scores: Floats

    def score(self, history_rows: Rows, weights: Floats) -> tuple[Rows, Floats]:
        """Distinct neighbours of R events and their similarities, weighted by event and summed; best first.

        Items of the history may be among them.
        """
        near, values = self._near(history_rows, weights)
        if len(near) == 0:
            return near, values
        leader = representatives(near, len(self.rows))
        sums = np.bincount(leader, weights=values, minlength=len(near)).astype(np.float32)
        first = leader == np.arange(len(near), dtype=np.int32)
        rows, scores = near[first], sums[first]
        order = descending(scores, rows)
        return rows[order], scores[order]

    def score_rows(self, history_rows: Rows, weights: Floats, rows: Rows) -> Floats:
        """The same sums for the given distinct `rows` [N]; 0 for a row that is no event's neighbour."""
        near = self.rows[history_rows].ravel()
        # Of thousands of neighbours some tens are candidates: only their similarities are read.
        perhaps = perhaps_among(near, rows)
        position = locate(near[perhaps], rows, len(self.rows))
        found = position >= 0
        event, place = np.divmod(perhaps[found], self.rows.shape[1])
        values = self.scores[history_rows[event], place] * weights[event]
        sums = np.bincount(
            position[found], weights=values.astype(np.float32, copy=False), minlength=len(rows)
        )
        return sums.astype(np.float32)

    def score_all(self, history_rows: Rows, weights: Floats) -> Floats:
        """The same sums for a batch of histories [B, T] (weight 0 at pads) over all items: dense [B, m]."""
        batch, items = len(history_rows), len(self.rows)
        near = self.rows[history_rows]  # B T k
        values = self.scores[history_rows] * weights[:, :, None]
        cell = np.arange(batch, dtype=np.int64)[:, None, None] * items + np.maximum(near, 0)
        sums = np.bincount(cell.ravel(), weights=values.ravel(), minlength=batch * items)
        return sums.reshape(batch, items).astype(np.float32)

    def _near(self, history_rows: Rows, weights: Floats) -> tuple[Rows, Floats]:
        near = self.rows[history_rows].ravel()
        values = (self.scores[history_rows] * weights[:, None]).ravel()
        present = near >= 0
        return near[present], values[present].astype(np.float32, copy=False)


def top_neighbours(blocks: Iterable[Floats], k: int, *, least: float = 0.0) -> Neighbours:
    """The best `k` columns of each row of a similarity matrix [m, m] that comes in consecutive blocks [b, m].

    The diagonal, values that are not finite, and values that are not above `least` are left out.
    """
    rows: list[Rows] = []
    scores: list[Floats] = []
    start = 0
    for block in blocks:
        size = len(block)
        values = np.array(block, np.float32)
        values[np.arange(size), np.arange(start, start + size)] = -np.inf
        values[~(values > least)] = -np.inf
        owner, column = np.nonzero(top_mask(values, k))
        near = column.astype(np.int32)
        block_rows, block_scores = _padded(owner.astype(np.int32), near, values[owner, column], size, k)
        rows.append(block_rows)
        scores.append(block_scores)
        start += size
    if not rows:
        return Neighbours(np.zeros((0, k), np.int32), np.zeros((0, k), np.float32))
    return Neighbours(np.concatenate(rows), np.concatenate(scores))


def build_neighbours(
    users: Rows,
    items: Rows,
    item_count: int,
    k: int,
    *,
    shrinkage: float = 10.0,
    max_history: int = 500,
) -> Neighbours:
    """Neighbours by co-occurrence over E interactions `users`, `items` [E], oldest first.

    similarity(i, j) = n_ij / (sqrt(n_i n_j) + shrinkage), n counting distinct users; the shrinkage keeps
    pairs that few users support from the top (our choice). Of each user the last `max_history` distinct
    items count, so that a robot with 10^5 events costs no more than a keen reader. Memory is bounded by
    blocks of items.
    """
    seen = Interactions(users, items, item_count, max_history)
    norm = np.sqrt(seen.users_of_item)
    rows = np.full((item_count, k), -1, np.int32)
    scores = np.zeros((item_count, k), np.float32)
    for block, owner, near, count in seen.counts():
        values = count / (norm[owner + block.start] * norm[near] + shrinkage)
        part = slice(block.start, block.stop)
        rows[part], scores[part] = _padded(owner, near, values.astype(np.float32), len(block), k)
    return Neighbours(rows, scores)


def _padded(owner: Rows, near: Rows, values: Floats, size: int, k: int) -> tuple[Rows, Floats]:
    """The best `k` entries per owner as tables [size, k]; they come sorted by owner, then `near`."""
    order = np.lexsort((-values, owner))
    owner, near, values = owner[order], near[order], values[order]
    counts = np.bincount(owner, minlength=size)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    best = rank < k
    rows = np.full((size, k), -1, np.int32)
    scores = np.zeros((size, k), np.float32)
    rows[owner[best], rank[best]] = near[best]
    scores[owner[best], rank[best]] = values[best]
    return rows, scores
