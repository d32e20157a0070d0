import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.slots import largest_remainder

shares = st.lists(st.floats(0, 1e6) | st.sampled_from([np.nan, np.inf, -1.0]), max_size=30)


@given(shares, st.integers(0, 5000))
def test_parts_sum_to_the_whole(weights, slots):
    parts = largest_remainder(np.array(weights, np.float64), slots)
    assert (parts >= 0).all()
    assert parts.sum() == (slots if weights else 0)


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30), st.integers(1, 5000))
def test_each_part_is_its_exact_share_rounded_down_or_up(weights, slots):
    weights = np.array(weights)
    exact = weights / weights.sum() * slots
    parts = largest_remainder(weights, slots)
    assert (np.abs(parts - exact) < 1 + 1e-6).all()


@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=30), st.integers(1, 5000))
def test_a_heavier_interest_never_gets_fewer(weights, slots):
    weights = np.sort(np.array(weights))[::-1]
    parts = largest_remainder(weights, slots)
    assert (np.diff(parts) <= 0).all()


def test_known_case_and_ties():
    assert largest_remainder(np.array([47, 16, 15.8, 12, 6.1, 3.1]), 10).tolist() == [5, 2, 1, 1, 1, 0]
    assert largest_remainder(np.ones(3), 2).tolist() == [1, 1, 0]
    assert largest_remainder(np.zeros(2), 3).tolist() == [2, 1]
