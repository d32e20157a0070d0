from __future__ import annotations

import numpy as np
import pytest

from service.overload import cohorts
from service.tables import CALLS, Gathered, Table


def table() -> Table:
    base = np.arange(12, dtype=np.float16).reshape(6, 2)
    return Table(base, np.array([[100.0, 101.0]], np.float32))


def test_the_same_rows_are_read_once_and_others_anew() -> None:
    gathered = Gathered(table())
    rows = np.array([5, 6, 0], np.int32)
    first = gathered.take(rows)
    assert first.tolist() == [[10, 11], [100, 101], [0, 1]]
    assert first.dtype == np.float32
    assert gathered.take(rows) is first
    assert gathered.take(rows[:1]).tolist() == [[10, 11]]
    assert gathered.take(rows).tolist() == first.tolist()


def test_calls_that_take_turns_each_find_what_they_read() -> None:
    gathered = Gathered(table())
    calls = [np.array([call % 6, 6], np.int32) for call in range(cohorts.MOST)]
    found = [gathered.take(rows) for rows in calls]
    assert [vectors[0].tolist() for vectors in found[:2]] == [[0, 1], [2, 3]]
    assert CALLS >= cohorts.MOST
    assert all(gathered.take(rows) is vectors for rows, vectors in zip(calls, found, strict=True))


def test_nobody_writes_into_what_others_read() -> None:
    with pytest.raises(ValueError, match="read-only"):
        Gathered(table()).take(np.array([1]))[0, 0] = 5
