from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ranking.caps import CodedCap, capped

NONE = -1


def cap(values: list[int], most: int, window: int | None = None, before: list[int] | None = None) -> CodedCap:
    return CodedCap(np.array(values, np.int32)[:, None], _column(before or []), most, window)


def _column(values: list[int]) -> np.ndarray:
    return np.array(values, np.int32).reshape(-1, 1)


def test_the_best_that_breaks_no_cap_stands_at_each_place() -> None:
    assert capped([cap([0, 0, 0, 1, 0, 1], most=2)], 6, 4).tolist() == [0, 1, 3, 5]
    assert capped([cap([0, 0, 0, 1, 1, 2], most=1, window=2)], 6, 6).tolist() == [0, 3, 1, 4, 2, 5]


def test_the_list_ends_where_nothing_may_follow() -> None:
    assert capped([cap([0, 0, 0], most=1)], 3, 3).tolist() == [0]
    assert capped([cap([0, 0, 1, 0], most=1, window=3)], 4, 4).tolist() == [0, 2]


def test_what_has_no_value_is_like_nothing() -> None:
    assert capped([cap([NONE] * 4, most=1)], 4, 4).tolist() == [0, 1, 2, 3]


def test_places_before_the_list_count_while_they_are_in_the_window() -> None:
    values = [0, 0, 1, 2, 3]
    assert capped([cap(values, most=1, before=[0, 5])], 5, 3).tolist() == [2, 3, 4]
    assert capped([cap(values, most=1, window=3, before=[0, 5])], 5, 3).tolist() == [2, 0, 3]
    assert capped([cap(values, most=1, window=2, before=[0, 5])], 5, 2).tolist() == [0, 2]


def test_every_value_of_a_candidate_counts() -> None:
    sets = CodedCap(np.array([[0, 1], [1, 2], [2, NONE], [0, NONE]], np.int32), _column([]), 1)
    assert capped([sets], 4, 4).tolist() == [0, 2]


def test_all_caps_hold() -> None:
    assert capped([cap([0, 1, 0, 1], most=1), cap([0, 0, 1, 1], most=1)], 4, 4).tolist() == [0, 3]


def test_no_candidate_is_an_empty_list() -> None:
    none = CodedCap(np.zeros((0, 0), np.int32), _column([]), 1)
    assert capped([none], 0, 5).tolist() == []


@given(
    values=st.lists(st.integers(NONE, 3), min_size=1, max_size=30),
    before=st.lists(st.integers(NONE, 3), max_size=8),
    most=st.integers(1, 3),
    window=st.integers(1, 10),
)
def test_no_window_has_more_than_the_most(
    values: list[int], before: list[int], most: int, window: int
) -> None:
    picked = capped([cap(values, most, window, before)], len(values), 20).tolist()
    assert len(set(picked)) == len(picked)
    places = before + [values[i] for i in picked]
    for end in range(len(before) + 1, len(places) + 1):
        counts = Counter(place for place in places[max(0, end - window) : end] if place != NONE)
        latest = places[end - 1]
        assert latest == NONE or counts[latest] <= most
    if len(picked) < min(20, len(values)):
        recent = Counter(places[max(0, len(places) - window + 1) :] if window > 1 else [])
        rest = [value for i, value in enumerate(values) if i not in picked]
        assert all(value != NONE and recent[value] >= most for value in rest)
