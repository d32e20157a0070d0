from __future__ import annotations

import numpy as np
import pytest

from ranking.off_policy import Estimate, doubly_robust, folds, importance, ips, logged_value, snips

EACH = np.arange(4)


def test_small_cases_by_hand() -> None:
    """Two actions, logged with 0.25 and 0.75, each shown twice; the other policy takes the first always."""
    logged = np.array([0.25, 0.25, 0.75, 0.75])
    target = np.array([1.0, 1.0, 0.0, 0.0])
    rewards = np.array([1.0, 0.0, 1.0, 1.0])
    weights = importance(target, logged)
    assert weights.tolist() == [4.0, 4.0, 0.0, 0.0]

    found = ips(rewards, weights, EACH)
    assert found.value == 1.0
    assert found.standard_error == pytest.approx(np.std([4, 0, 0, 0], ddof=1) / 2)
    found = snips(rewards, weights, EACH)
    assert found.value == 0.5
    assert found.standard_error == pytest.approx(np.std([1, -1, 0, 0], ddof=1) / 2)
    assert logged_value(rewards, EACH).value == 0.75
    model = np.array([0.6, 0.6, 0.9, 0.9])
    found = doubly_robust(rewards, weights, model, np.full(4, 0.6), EACH)
    assert found.value == pytest.approx(0.6 + np.mean([1.6, -2.4, 0, 0]))
    assert found.standard_error == pytest.approx(np.std([1.6, -2.4, 0, 0], ddof=1) / 2)


def test_a_model_that_is_right_leaves_no_variance() -> None:
    rewards = np.array([0.2, 0.2, 0.9, 0.9])
    found = doubly_robust(rewards, np.array([4.0, 4.0, 0.0, 0.0]), rewards, np.full(4, 0.2), EACH)
    assert (found.value, found.standard_error) == (pytest.approx(0.2), pytest.approx(0.0, abs=1e-12))


def test_places_of_one_group_count_as_one_observation() -> None:
    """Each place told twice: as groups of two the error stays, as places by themselves it shrinks."""
    rng = np.random.default_rng(0)
    values, weights = rng.random(50), rng.random(50) * 2
    once = ips(values, weights, np.arange(50))
    twice = np.repeat(values, 2), np.repeat(weights, 2)
    together = ips(*twice, np.repeat(np.arange(50), 2))
    assert together.value == pytest.approx(once.value)
    assert together.standard_error == pytest.approx(once.standard_error)
    assert ips(*twice, np.arange(100)).standard_error < 0.75 * once.standard_error


def test_one_group_has_no_error() -> None:
    assert np.isnan(ips(np.ones(3), np.ones(3), np.zeros(3, np.int64)).standard_error)


def test_intervals_are_the_normal_ones() -> None:
    low, high = Estimate(1.0, 0.1).interval(0.95)
    assert (low, high) == (pytest.approx(1 - 0.196, abs=1e-4), pytest.approx(1 + 0.196, abs=1e-4))
    assert Estimate(1.0, 0.1).covers(1.19)
    assert not Estimate(1.0, 0.1).covers(1.2)


def test_clipped_weights_are_no_greater() -> None:
    assert importance(np.ones(2), np.array([0.01, 0.5]), most=10.0).tolist() == [10.0, 2.0]


@pytest.mark.parametrize("logged", [0.0, -0.1, 1.1, np.nan])
def test_a_propensity_that_is_none_is_refused(logged: float) -> None:
    with pytest.raises(ValueError, match="propensity"):
        importance(np.ones(1), np.array([logged]))
    with pytest.raises(ValueError, match="target"):
        importance(np.array([1.5]), np.ones(1))


def test_a_policy_that_shows_nothing_of_the_log_has_no_normalised_value() -> None:
    with pytest.raises(ValueError, match="all weights are 0"):
        snips(np.ones(2), np.zeros(2), np.arange(2))


def test_folds_keep_groups_together_and_are_even() -> None:
    groups = np.repeat(np.arange(100), 3)
    fold = folds(groups, seed=1)
    assert all(len(set(fold[groups == g].tolist())) == 1 for g in range(100))
    assert np.bincount(fold).tolist() == [150, 150]
