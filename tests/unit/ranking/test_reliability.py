import math

import numpy as np
import pytest
from scipy import stats

from ranking.reliability import (
    Z95,
    Z999,
    calibration_error,
    copc_interval,
    poisson_interval,
    reliability,
    wilson_interval,
)
from retrieval.metrics import ece


@pytest.mark.parametrize("z", [Z95, Z999])
@pytest.mark.parametrize("count", [20, 65, 530, 10_000])
def test_poisson_limits_are_the_exact_ones(count, z):
    tail = stats.norm.sf(z)
    low, high = poisson_interval(count, z)
    assert low == pytest.approx(stats.chi2.ppf(tail, 2 * count) / 2, rel=0.02)
    assert high == pytest.approx(stats.chi2.ppf(1 - tail, 2 * count + 2) / 2, rel=0.01)


def test_without_a_click_only_the_upper_limit_says_anything():
    assert poisson_interval(0)[0] == 0.0
    assert poisson_interval(0)[1] == pytest.approx(3.7, abs=0.2)
    found = copc_interval(10.0, 0)
    assert math.isnan(found.value)
    assert found.high == math.inf
    assert found.beyond(0.2)
    assert not copc_interval(2.0, 0).beyond(0.2)


@pytest.mark.parametrize(
    ("predicted", "clicks", "beyond"),
    [
        (100, 100, False),
        (50, 100, True),
        (200, 100, True),
        (85, 100, False),
        (5, 10, False),
        (500, 1000, True),
    ],
)
def test_an_interval_that_is_far_from_one_is_beyond(predicted, clicks, beyond):
    assert copc_interval(predicted, clicks, Z999).beyond(0.2) == beyond


def test_wilson_limits_hold_the_share_as_often_as_they_say():
    rng = np.random.default_rng(0)
    share, samples = 0.03, 200
    limits = [wilson_interval(hits, samples) for hits in rng.binomial(samples, share, 4000)]
    assert np.mean([low <= share <= high for low, high in limits]) == pytest.approx(0.95, abs=0.02)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_bins_have_equal_mass_and_rise():
    rng = np.random.default_rng(1)
    chance = rng.beta(1, 20, 10_007)
    labels = rng.random(10_007) < chance
    bins = reliability(labels, chance)
    assert sum(one.samples for one in bins) == 10_007
    assert max(one.samples for one in bins) - min(one.samples for one in bins) <= 1
    assert (np.diff([one.predicted for one in bins]) > 0).all()
    assert sum(one.low <= one.predicted <= one.high for one in bins) >= 17
    assert calibration_error(labels, chance) == pytest.approx(ece(labels, chance))
