from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ranking.caps import CodedCap
from ranking.placing import placed


def codes(values: list[int]) -> np.ndarray:
    return np.array(values, np.int32).reshape(-1, 1)


def test_ads_stand_at_the_slots_and_the_rest_is_the_organic_list() -> None:
    page = placed(organic=6, ads=2, slots=[1, 3], size=6)
    assert page.positions.tolist() == [0, 6, 1, 7, 2, 3]
    assert page.ads == 2


def test_a_slot_without_an_ad_is_organic() -> None:
    assert placed(4, 1, [0, 2], 4).positions.tolist() == [4, 0, 1, 2]
    assert placed(4, 0, [0, 2], 4).positions.tolist() == [0, 1, 2, 3]


def test_no_ad_stands_below_a_gap() -> None:
    page = placed(2, 2, [1, 5], 8)
    assert page.positions.tolist() == [0, 2, 1]
    assert page.ads == 1


def test_an_ad_that_would_break_a_cap_is_named() -> None:
    brand = codes([0, 1, 0])
    cap = CodedCap(brand, codes([]), most=1)
    assert placed(2, 1, [1], 3, [cap]).barred == 0
    assert placed(2, 1, [0], 3, [cap]).positions.tolist() == [2, 1]


@given(
    organic=st.lists(st.integers(0, 4), max_size=12),
    ads=st.lists(st.integers(0, 4), max_size=4),
    slots=st.sets(st.integers(0, 9), max_size=4),
    before=st.lists(st.integers(0, 4), max_size=4),
    most=st.integers(1, 2),
    window=st.integers(2, 5),
)
def test_no_cap_is_broken_and_nothing_comes_twice(
    organic: list[int], ads: list[int], slots: set[int], before: list[int], most: int, window: int
) -> None:
    cap = CodedCap(codes(organic + ads), codes(before), most, window)
    page = placed(len(organic), len(ads), sorted(slots), 10, [cap])
    picked = page.positions.tolist()
    assert len(set(picked)) == len(picked)
    at = [i for i, position in enumerate(picked) if position >= len(organic)]
    assert set(at) <= slots
    assert [picked[i] - len(organic) for i in at] == list(range(page.ads))
    places = before + [(organic + ads)[position] for position in picked]
    for end in range(len(before) + 1, len(places) + 1):
        counts = Counter(places[max(0, end - window) : end])
        assert counts[places[end - 1]] <= most
