"""One order for scored rows: score descending, non-finite scores last, ties by row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.masks import every, some

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]


def descending(scores: Floats, rows: Rows) -> NDArray[np.intp]:
    """Positions [N] from the best score to the worst; non-finite scores last, ties by ascending row.

    Single-precision scores are sorted together with their rows, as one whole number each: an index that
    rounds scores gives the same to many items, and a sort by two keys takes several times as long.
    """
    finite = np.isfinite(scores)
    rising = np.float32(0.0) - scores
    if not every(finite):
        rising[~finite] = np.inf
    if rising.dtype != np.float32:
        return by_keys(rising, rows)
    bits = rising.view(np.int32)
    # Of negative numbers the bits rise as they fall. There is no -0.0: nothing minus something gave none.
    bits = bits ^ (bits >> 31 & np.int32(0x7FFFFFFF))
    return np.argsort((bits.astype(np.int64) << 32) + rows)


def is_descending(scores: Floats, rows: Rows) -> bool:
    """Whether `descending` would leave everything where it is."""
    if len(scores) and not np.isfinite(scores[0]):
        return False
    ahead, behind = scores[:-1], scores[1:]
    falls = behind < ahead
    if every(falls):
        return True
    return every(falls | ((behind == ahead) & (rows[1:] > rows[:-1])))


def by_keys(first: NDArray[Any], *then: NDArray[Any]) -> NDArray[np.intp]:
    """Positions [N] by rising keys, ties of `first` by the others in turn; the last should have none.

    Where `first` has no ties, which is the rule with scores, the others are not looked at.
    """
    order = first.argsort()
    ranked = first[order]
    if some(ranked[1:] == ranked[:-1]):
        return np.lexsort((*reversed(then), first))
    return order


def top_mask(block: Floats, k: int) -> NDArray[np.bool_]:
    """True at the `k` largest finite values of each row of `block` [b, m]; ties by lowest column."""
    finite = np.where(np.isfinite(block), block, -np.inf)
    if k >= block.shape[1]:
        return finite > -np.inf
    edge = -np.partition(-finite, k - 1, axis=1)[:, k - 1 : k]
    above = finite > edge
    level = (finite == edge) & (edge > -np.inf)
    room = k - above.sum(axis=1, keepdims=True)
    chosen: NDArray[np.bool_] = above | (level & (np.cumsum(level, axis=1) <= room))
    return chosen


def best_rows(block: Floats, k: int) -> Rows:
    """The best `k` columns of each row of `block` [b, m], best first: [b, min(k, m)].

    Ties by lowest column; -1 past the finite values.
    """
    chosen = top_mask(block, k)
    owner, column = np.nonzero(chosen)
    order = np.lexsort((column, -block[owner, column], owner))
    owner, column = owner[order], column[order]
    rows = np.full((len(block), min(k, block.shape[1])), -1, np.int32)
    place = np.arange(len(owner)) - np.searchsorted(owner, owner)
    rows[owner, place] = column
    return rows
