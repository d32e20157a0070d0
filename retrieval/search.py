"""From interests to candidates: one batched index search, the union of what it found, back-filled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.masks import some
from retrieval.distinct import representatives
from retrieval.index import VectorIndex
from retrieval.interests import OWN, Interests
from retrieval.order import descending

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]

_HEADROOM = 1.2
"""Every query asks for this much more than the largest number of slots, to make up for overlaps; where that
is not enough, for twice as much again."""


@dataclass(frozen=True, slots=True)
class Retrieved:
    """N distinct items, best first: `rows`, their best `scores`, the `interest` that found them; all [N]."""

    rows: Rows
    scores: Floats
    interest: Rows


def retrieve(index: VectorIndex, interests: Interests, wanted: int) -> Retrieved:
    """So many distinct items as are `wanted`, if the index can supply them.

    Items enter in the order of rank / slots of the list that they are in, so every interest fills its own
    slots first and overlaps are made up by all in proportion. An item's score is the best of the lists that
    have it. Its interest is the cluster that has it highest within its own slots, for that says most; without
    any, the one that brought it in (our choice).
    """
    if len(interests) == 1:
        return _single(index, interests.queries, wanted)
    if wanted <= 0 or index.size == 0:
        return Retrieved(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int32))
    slots = interests.slots(wanted)
    active = np.flatnonzero(slots > 0).astype(np.int32)
    queries, slots = interests.queries[active], slots[active]
    telling = interests.clusters[active] != OWN
    limit = min(wanted, index.size)
    depth = min(int(slots.max() * _HEADROOM) + 1, limit)
    found = _union(*index.search(queries, depth), slots, telling, wanted, index.size)
    while len(found.rows) < limit and depth < limit:
        depth = min(2 * depth, limit)
        found = _union(*index.search(queries, depth), slots, telling, wanted, index.size)
    order = descending(found.scores, found.rows)
    return Retrieved(found.rows[order], found.scores[order], active[found.interest[order]])


def _single(index: VectorIndex, query: Floats, wanted: int) -> Retrieved:
    """What one query finds: nothing is there twice and nothing to fill, but ties may be out of order."""
    if wanted <= 0 or index.size == 0:
        return Retrieved(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int32))
    scores, rows = index.search(query, min(wanted, index.size))
    found, best = rows[0], scores[0]
    if found[-1] < 0:
        there = found >= 0
        found, best = found[there], best[there]
    if (best[1:] == best[:-1]).any():
        order = descending(best, found)
        found, best = found[order], best[order]
    return Retrieved(found, best, np.zeros(len(found), np.int32))


def _union(
    scores: Floats, rows: Rows, slots: Rows, telling: NDArray[np.bool_], wanted: int, items: int
) -> Retrieved:
    """The first `wanted` distinct items of the lists [q, k], interleaved in proportion to `slots` [q].

    `telling` [q] are the lists that an item is named after, if it is within their slots.
    """
    depth = rows.shape[1]
    turn = np.arange(1, depth + 1, dtype=np.float32) / slots[:, None].astype(np.float32)
    order = turn.ravel().argsort(kind="stable")
    within = np.count_nonzero(turn <= 1.0)
    flat_rows = rows.ravel()[order]
    if some(rows[:, -1] < 0):
        there = flat_rows >= 0
        order, flat_rows, within = order[there], flat_rows[there], np.count_nonzero(there[:within])
    flat_scores = scores.ravel()[order]
    leader = representatives(flat_rows, items)
    leads = leader == np.arange(len(leader), dtype=np.int32)
    best, again = flat_scores.copy(), (~leads).nonzero()[0]
    np.maximum.at(best, leader[again], flat_scores[again])
    first = leads.nonzero()[0][:wanted]
    named = np.empty(len(order), np.int32)
    named[first] = order[first] // depth
    # Backwards, so that of several lists the one with the earliest turn is written last.
    lists = order[:within][::-1] // depth
    sure = telling[lists]
    named[leader[:within][::-1][sure]] = lists[sure]
    return Retrieved(flat_rows[first], best[first], named[first])
