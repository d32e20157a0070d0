from __future__ import annotations

import numpy as np
import pytest

from service.overload.quality import Quality


def test_it_stays_between_its_bounds() -> None:
    quality = Quality(0.25)
    assert quality.factor == 1.0
    for _ in range(1000):
        quality.observe(True)
    assert quality.factor == 1.0
    for _ in range(1000):
        quality.observe(False)
    assert quality.factor == 0.25


def test_single_late_answers_narrow_nothing() -> None:
    quality = Quality(0.25, headroom=0.4)
    for number in range(5000):
        quality.observe(number % 200 != 0)
        assert quality.factor == 1.0


def test_one_late_answer_costs_what_ninety_nine_in_time_earn() -> None:
    quality = Quality(0.1, percentile=99.0, step=0.001, headroom=0.0)
    for _ in range(3):
        quality.observe(False)
    low = quality.factor
    quality.observe(False)
    for _ in range(99):
        quality.observe(True)
    assert quality.factor == pytest.approx(low)


@pytest.mark.parametrize("percentile", [90.0, 99.0])
def test_at_rest_the_percentile_of_latency_sits_on_the_goal(percentile: float) -> None:
    rng = np.random.default_rng(1)
    quality = Quality(0.05, percentile=percentile, step=0.0005, headroom=0.0)
    late = []
    for _ in range(60_000):
        # Latency in proportion to the width, with a long tail; the goal is 1.
        in_time = 0.6 * quality.factor * rng.lognormal(0.0, 0.5) <= 1.0
        quality.observe(bool(in_time))
        late.append(not in_time)
    assert 100.0 * np.mean(late[20_000:]) == pytest.approx(100.0 - percentile, rel=0.15)
    assert 0.05 < quality.factor < 1.0
