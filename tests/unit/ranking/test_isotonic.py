import numpy as np
import pytest

from ranking.isotonic import Isotonic, _pool


def test_blocks_are_those_of_the_weighted_isotonic_fit():
    centres, values, masses = _pool(
        np.array([1.0, 2, 3, 4, 5]), np.array([0.1, 0.5, 0.3, 0.4, 0.9]), np.array([1.0, 1, 1, 2, 1])
    )
    np.testing.assert_allclose(values, [0.1, 0.4, 0.9])
    np.testing.assert_allclose(centres, [1, 3.25, 5])
    np.testing.assert_allclose(masses, [1, 4, 1])


def test_the_curve_passes_through_its_points_and_is_straight_between_them():
    curve = Isotonic(np.array([-1.0, 1.0]), np.array([-2.0, 0.0]))
    np.testing.assert_allclose(curve(np.array([-1.0, 0.0, 1.0])), 1 / (1 + np.exp([2, 1, 0])))


def test_a_curve_that_no_straight_line_fits():
    rng = np.random.default_rng(0)
    logits = rng.uniform(-3, 3, 50_000)
    truth = np.where(logits < 0, 0.1, 0.7)
    labels = rng.random(len(logits)) < truth
    off = np.abs(Isotonic.fit(logits, labels)(logits) - truth)
    assert np.median(off) < 0.02


def test_equal_logits_share_their_mean():
    calibrate = Isotonic.fit(np.zeros(10), np.array([1] * 3 + [0] * 7))
    assert calibrate(np.array([0.0]))[0] == pytest.approx(0.3)
