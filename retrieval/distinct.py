"""Duplicates among item rows, without sorting: a scratch array remembers who wrote a row last."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]
Positions = NDArray[np.int32]

_scratch = threading.local()


def representatives(rows: Rows, item_count: int) -> Positions:
    """For each of N rows, the position of its first occurrence in `rows`: equal rows share one.

    Linear in N and independent of `item_count` after the first call of a thread, whose scratch array of
    `item_count` int32 it fills. The scratch needs no clearing, because only cells just written are read.
    """
    owner = _owner(item_count)
    cells = rows.astype(np.intp)  # once: numpy indexes by no other
    owner[cells[::-1]] = np.arange(len(rows) - 1, -1, -1, dtype=np.int32)
    return owner[cells]


def first_occurrences(rows: Rows, item_count: int) -> NDArray[np.bool_]:
    """True where a row occurs for the first time in `rows` [N]."""
    first: NDArray[np.bool_] = representatives(rows, item_count) == np.arange(len(rows), dtype=np.int32)
    return first


def locate(wanted: Rows, among: Rows, item_count: int) -> Positions:
    """Position of each of `wanted` [W] in the distinct rows `among` [N]; -1 where it is not there."""
    if len(among) == 0:
        return np.full(len(wanted), -1, np.int32)
    owner = _owner(item_count)
    owner[among] = np.arange(len(among), dtype=np.int32)
    position = owner[wanted]
    position[(position < 0) | (position >= len(among))] = 0
    return np.where(among[position] == wanted, position, np.int32(-1)).astype(np.int32, copy=False)


def perhaps_among(rows: Rows, others: Rows) -> NDArray[np.intp]:
    """Positions of all `rows` [N] that occur in `others` [M], and of one in 32 or so that do not.

    Whoever has few of many asks for the others no more. By the last bits of a row, in marks so few that they
    stay in the nearest cache, which a search among the others or a scratch array of all items do not.
    """
    bits = min(len(others).bit_length() + 5, _MOST_BITS)
    marks, last = np.zeros(1 << bits, bool), (1 << bits) - 1
    marks[others & last] = True
    return np.flatnonzero(marks[rows & last])


_MOST_BITS = 16


def _owner(item_count: int) -> Positions:
    owner: Positions | None = getattr(_scratch, "owner", None)
    if owner is None or len(owner) < item_count:
        owner = np.zeros(item_count, np.int32)
        _scratch.owner = owner
    return owner
