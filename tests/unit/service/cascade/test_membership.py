from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.cascade.membership import has_twice, is_among, is_rising

ROWS = st.lists(st.integers(0, 2**31 - 1) | st.integers(0, 5), max_size=20)


@given(ROWS, ROWS)
def test_is_among_says_what_isin_says(rows: list[int], others: list[int]) -> None:
    wanted, among = np.array(rows, np.int32), np.array(others, np.int32)

    assert is_among(wanted, among).tolist() == np.isin(wanted, among).tolist()


def test_is_among_many_says_what_isin_says() -> None:
    rng = np.random.default_rng(0)
    for few, many in ((1000, 100), (20, 100_000), (5000, 5000)):
        rows, others = (rng.integers(0, 200_000, size).astype(np.int32) for size in (few, many))

        assert np.array_equal(is_among(rows, others), np.isin(rows, others))


@given(ROWS)
def test_has_twice(rows: list[int]) -> None:
    assert has_twice(np.array(rows, np.int32)) == (len(set(rows)) < len(rows))


@given(ROWS)
def test_is_rising(rows: list[int]) -> None:
    assert is_rising(np.array(rows, np.int32)) == (sorted(set(rows)) == rows)
