"""Which rows are among a few others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.masks import every, some
from retrieval.distinct import perhaps_among

Rows = NDArray[np.int32]


def is_among(rows: Rows, others: Rows) -> NDArray[np.bool_]:
    """True at each of N `rows` that occurs in `others`, which need be neither sorted nor distinct.

    Many times faster than `np.isin` for the sizes of a request: it sorts the others only, and searches them
    only for rows that may be there.
    """
    found = np.zeros(len(rows), bool)
    if len(others):
        perhaps = perhaps_among(rows, others)
        wanted, ordered = rows[perhaps], np.sort(others)
        found[perhaps] = ordered[ordered.searchsorted(wanted) % len(ordered)] == wanted
    return found


def has_twice(rows: NDArray[np.integer]) -> bool:
    """Whether any row occurs more than once."""
    ordered = np.sort(rows)
    return some(ordered[1:] == ordered[:-1])


def is_rising(numbers: NDArray[np.integer]) -> bool:
    """Whether each is larger than the one before it."""
    return every(numbers[1:] > numbers[:-1])
