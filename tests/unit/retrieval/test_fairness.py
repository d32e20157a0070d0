from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.fairness import (
    MEASURES,
    entropy,
    exposure_fairness,
    gini,
    jain,
    least_fair,
    most_fair,
    qualified,
    satisfied,
    weighted_gini,
)

ONE_OF_FOUR = np.array([8.0, 0, 0, 0])
ALIKE = np.full(4, 2.0)
HALF = np.array([3.0, 3, 0, 0])
RISING = np.array([1.0, 2, 3, 4])


@pytest.mark.parametrize(
    ("measure", "one", "alike", "half", "rising"),
    [
        (jain, 1 / 4, 1, 1 / 2, 100 / 120),
        (entropy, 0, 1, 1 / 2, -sum(p * np.log(p) for p in (0.1, 0.2, 0.3, 0.4)) / np.log(4)),
        (gini, 3 / 4, 0, 1 / 2, 0.25),
        (qualified, 1 / 4, 1, 1 / 2, 1),
        (satisfied, 1 / 4, 1, 1 / 2, 3 / 4),
    ],
)
def test_small_cases_by_hand(measure, one, alike, half, rising) -> None:
    for shown, expected in ((ONE_OF_FOUR, one), (ALIKE, alike), (HALF, half), (RISING, rising)):
        assert measure(shown) == pytest.approx(expected), shown


def lists_of(users: int, k: int, items: int, fair: bool) -> np.ndarray:
    """The same list for everybody, or all items in turn."""
    places = np.arange(users * k) if fair else np.tile(np.arange(k), users)
    return (places % items).reshape(users, k)


@pytest.mark.parametrize(("users", "k", "items"), [(6, 2, 5), (3, 2, 20), (7, 3, 4), (10, 1, 10)])
def test_the_extremes_are_0_and_1(users: int, k: int, items: int) -> None:
    worst = exposure_fairness(lists_of(users, k, items, fair=False), items)
    best = exposure_fairness(lists_of(users, k, items, fair=True), items)
    for name in MEASURES:
        low, high = (1, 0) if name == "Gini" else (0, 1)
        assert (worst[name], best[name]) == (pytest.approx(low), pytest.approx(high)), name
    assert worst["Gini-w"] == pytest.approx(1)


def test_the_bounds_are_those_that_the_paper_states_as_formulas() -> None:
    """m users, lists of k, n items: the same list for all, and as even as can be (arXiv 2311.01013)."""
    m, k, n = 7, 3, 4
    ranked = lists_of(m, k, n, fair=False)
    worst, best = least_fair(ranked, n), most_fair(m * k, n)
    q, r = divmod(m * k, n)
    assert jain(worst) == pytest.approx(k / n)
    assert jain(best) == pytest.approx((m * k) ** 2 / (n * (r * (q + 1) ** 2 + (n - r) * q**2)))
    assert entropy(worst) == pytest.approx(np.log(k) / np.log(n))
    assert gini(worst) == pytest.approx(1 - k / n)
    assert gini(best) == pytest.approx(r * (n - r) / (n * m * k))
    assert qualified(worst) == k / n


def test_in_between_is_told_on_the_scale_of_the_extremes() -> None:
    """Of 4 items, 4 lists of one: [2, 1, 1, 0]."""
    found = exposure_fairness(np.array([[0], [0], [1], [2]]), 4)
    assert found["Jain"] == pytest.approx((16 / (4 * 6) - 1 / 4) / (1 - 1 / 4))
    assert found["Gini"] == pytest.approx((6 / 16) / (3 / 4))
    assert found["entropy"] == pytest.approx(1.5 * np.log(2) / np.log(4))
    assert found["QF"] == found["FSat"] == pytest.approx((3 / 4 - 1 / 4) / (1 - 1 / 4))


def test_with_fewer_places_than_items_not_everybody_is_satisfied() -> None:
    ranked = np.array([[0, 1], [0, 1], [0, 2]])
    assert exposure_fairness(ranked, 100)["FSat"] == pytest.approx((3 - 2) / (6 - 2))


def test_a_better_place_counts_more() -> None:
    """Each item is listed twice: in turn at both places, or always at the same one."""
    turns, fixed = np.array([[0, 1], [1, 0]]), np.array([[0, 1], [0, 1]])
    assert exposure_fairness(turns, 2)["Gini"] == exposure_fairness(fixed, 2)["Gini"] == 0
    assert weighted_gini(turns, 2) == pytest.approx(0)
    assert weighted_gini(fixed, 2) == pytest.approx(1)
    second = 1 / np.log2(3)
    some = np.array([[0, 1], [0, 2]])
    exposure = np.array([2, second, second, 0])
    assert weighted_gini(some, 4) == pytest.approx(
        (gini(exposure) - gini(np.array([1, 1, second, second])))
        / (gini(np.array([2, 2 * second, 0, 0])) - gini(np.array([1, 1, second, second])))
    )


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 10), st.integers(0, 1000))
def test_figures_are_within_0_and_1_whatever_the_lists(users: int, k: int, more: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    items = k + more
    ranked = np.stack([rng.permutation(items)[:k] for _ in range(users)])
    ranked[rng.random(ranked.shape) < 0.2] = -1
    ranked[0, 0] = 0
    for name, value in exposure_fairness(ranked, items).items():
        assert 0 <= value <= 1, name


def test_lists_without_an_item_are_refused() -> None:
    with pytest.raises(ValueError, match="without an item"):
        exposure_fairness(np.full((2, 3), -1), 5)
