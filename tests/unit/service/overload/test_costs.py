from __future__ import annotations

import numpy as np
import pytest

from service.overload.costs import Costs, Line


def test_a_line_is_learned_from_different_widths() -> None:
    rng, line = np.random.default_rng(2), Line()
    for width in rng.integers(50, 1000, 400):
        line.observe(float(width), 0.002 + 3e-6 * float(width))
    fixed, slope = line.fit
    assert fixed == pytest.approx(0.002, rel=0.1)
    assert slope == pytest.approx(3e-6, rel=0.1)


def test_one_width_alone_counts_as_proportional_until_another_tells_more() -> None:
    line = Line()
    for _ in range(50):
        line.observe(200, 0.004)
    assert line.fit == (pytest.approx(0.0, abs=1e-9), pytest.approx(0.004 / 200))
    for _ in range(20):
        line.observe(100, 0.003)
    fixed, slope = line.fit
    assert fixed + 200 * slope == pytest.approx(0.004, rel=0.05)
    assert fixed + 100 * slope == pytest.approx(0.003, rel=0.05)


def test_a_pause_is_not_a_cost() -> None:
    line = Line()
    for number in range(300):
        line.observe(100 + number % 7, 0.002 if number % 50 else 1.0)
    fixed, slope = line.fit
    assert fixed + 100 * slope < 0.0025


def test_neither_part_is_negative() -> None:
    line = Line()
    for width in range(100, 200):
        line.observe(width, 0.01 - width * 1e-5)
    fixed, slope = line.fit
    assert fixed >= 0.0
    assert slope >= 0.0


def learned() -> Costs:
    """2 ms whatever the widths, 1 microsecond per pre-ranked and 20 per ranked candidate."""
    costs, rng = Costs(), np.random.default_rng(3)
    for _ in range(300):
        first, second = int(rng.integers(100, 1000)), int(rng.integers(20, 200))
        costs.observe("recommend", "score.prerank", first, 1e-6 * first)
        costs.observe("recommend", "score.rank", second, 20e-6 * second)
        costs.close("recommend", 0.002)
    return costs


WIDTHS = [("score.prerank", 1000), ("score.rank", 200)]


def test_widths_that_fit_stay_and_others_are_cut_to_fit() -> None:
    costs = learned()
    fixed, scaled = costs.fit("recommend", WIDTHS)
    assert fixed == pytest.approx(0.002, rel=0.1)
    assert scaled == pytest.approx(0.005, rel=0.1)
    assert costs.share("recommend", WIDTHS, 0.010) == 1.0
    share = costs.share("recommend", WIDTHS, 0.0045)
    assert share == pytest.approx(0.5, rel=0.1)
    assert fixed + share * scaled == pytest.approx(0.0045)
    assert costs.share("recommend", WIDTHS, 0.001) < 0.0


def test_what_nothing_is_known_of_is_not_cut() -> None:
    assert Costs().share("recommend", WIDTHS, 0.001) == 1.0
    assert learned().share("search", WIDTHS, 0.001) == 1.0
