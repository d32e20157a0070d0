"""What every calibrator must do. A kind's test subclasses this suite and names it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ranking.calibration import Calibrator, calibrator_from_json, calibrators

some_logits = st.lists(st.floats(-30, 30), min_size=1, max_size=60)


def sample(slope: float, shift: float, count: int = 20_000, seed: int = 0):
    """Logits of a model whose true log-odds are slope * logit + shift."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 2, count).astype(np.float32)
    truth = 1 / (1 + np.exp(-(slope * logits + shift)))
    return logits, (rng.random(count) < truth).astype(np.float32), truth


class CalibratorSuite:
    kind: str
    shifts = True
    """Whether it can move all logits up or down; one that only scales is asked of worlds without a shift."""

    def fit(self, *args) -> Calibrator:
        return calibrators[self.kind].fit(*args)

    @pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.0), (0.4, -2.0), (2.0, 1.0)])
    def test_it_recovers_the_true_probabilities(self, slope, shift):
        shift *= self.shifts
        logits, labels, truth = sample(slope, shift)
        off = np.abs(self.fit(logits, labels)(logits) - truth)
        assert off.mean() < 0.015
        held_out, _, truth = sample(slope, shift, seed=9)
        assert np.abs(self.fit(logits, labels)(held_out) - truth).mean() < 0.015

    def test_predicted_equals_observed(self):
        logits, labels, _ = sample(0.5, -1.0 * self.shifts)
        assert self.fit(logits, labels)(logits).sum() == pytest.approx(labels.sum(), rel=0.01)

    def test_weights_count_like_repetitions(self):
        logits, labels, _ = sample(1.0, 0.0, count=300)
        times = np.random.default_rng(1).integers(0, 4, 300)
        weighted = self.fit(logits, labels, times)
        repeated = self.fit(np.repeat(logits, times), np.repeat(labels, times))
        grid = np.linspace(-6, 6, 50)
        np.testing.assert_allclose(weighted(grid), repeated(grid), rtol=1e-6)

    @settings(suppress_health_check=[HealthCheck.differing_executors])
    @given(logits=some_logits, seed=st.integers(0, 99))
    def test_order_never_changes(self, logits, seed):
        labels = np.random.default_rng(seed).integers(0, 2, len(logits))
        calibrate = self.fit(np.array(logits), labels)
        probability = calibrate(np.arange(-20, 20, 0.01))
        assert (np.diff(probability) >= 0).all()
        unsaturated = probability[(probability > 1e-9) & (probability < 1 - 1e-9)]
        assert (np.diff(unsaturated) > 0).all()

    @settings(suppress_health_check=[HealthCheck.differing_executors])
    @given(logits=some_logits, seed=st.integers(0, 99), asked=st.floats(width=32))
    def test_probabilities_are_inside_the_open_interval(self, logits, seed, asked):
        assume(np.isfinite(asked))
        labels = np.random.default_rng(seed).integers(0, 2, len(logits))
        probability = self.fit(np.array(logits), labels)(np.array([asked], np.float32))
        assert probability.dtype == np.float64
        assert 0 < probability[0] < 1

    @settings(suppress_health_check=[HealthCheck.differing_executors])
    @given(logits=some_logits, seed=st.integers(0, 99))
    def test_json_keeps_every_bit(self, logits, seed):
        labels = np.random.default_rng(seed).integers(0, 2, len(logits))
        calibrate = self.fit(np.array(logits), labels)
        again = calibrator_from_json(json.loads(json.dumps(calibrate.to_json())))
        grid = np.linspace(-9, 9, 99)
        np.testing.assert_array_equal(again(grid), calibrate(grid))

    def test_labels_that_fall_keep_the_order(self):
        logits = np.linspace(-3, 3, 200)
        calibrate = self.fit(logits, (logits < 0).astype(float))
        probability = calibrate(logits)
        assert (np.diff(probability) > 0).all()
        assert probability.mean() == pytest.approx(0.5, abs=0.02)

    @pytest.mark.parametrize("label", [0.0, 1.0])
    def test_one_kind_of_label_stays_inside(self, label):
        logits = np.linspace(-1, 1, 50) if self.shifts else np.full(50, 2 * label - 1)
        probability = self.fit(logits, np.full(50, label))(logits[:1])
        assert 0 < abs(probability[0] - label) < 0.05

    def test_separable_samples_give_finite_probabilities(self):
        logits = np.array([-2.0, -1.0, 1.0, 2.0])
        probability = self.fit(logits, np.array([0, 0, 1, 1]))(logits)
        assert (np.diff(probability) > 0).all()
        assert 0 < probability[0] < probability[-1] < 1

    def test_logits_that_are_not_finite_have_no_probability(self):
        calibrate = self.fit(np.array([-1.0, 1.0]), np.array([0, 1]))
        answer = calibrate(np.array([np.nan, np.inf, -np.inf, 0.0]))
        assert np.isnan(answer).tolist() == [True, True, True, False]

    def test_no_candidates(self):
        assert self.fit(np.array([-1.0, 1.0]), np.array([0, 1]))(np.zeros(0, np.float32)).shape == (0,)

    @pytest.mark.parametrize(
        ("logits", "labels", "weights"),
        [
            ([], [], None),
            ([1.0], [1], [0.0]),
            ([np.nan], [1], None),
            ([np.inf], [1], None),
            ([1.0], [2], None),
            ([1.0], [np.nan], None),
            ([1.0], [1], [-1.0]),
            ([1.0, 2.0], [1], None),
        ],
    )
    def test_what_cannot_be_learnt_from_is_refused(self, logits, labels, weights):
        with pytest.raises(ValueError, match=r"finite|positive weight|match"):
            self.fit(np.array(logits), np.array(labels), None if weights is None else np.array(weights))
