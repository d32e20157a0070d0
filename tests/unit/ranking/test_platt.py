import numpy as np
import pytest

from ranking.platt import Platt


def test_slope_and_intercept_are_found():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 200_000)
    labels = rng.random(len(logits)) < 1 / (1 + np.exp(-(0.5 * logits - 1)))
    found = Platt.fit(logits, labels)
    assert found.slope == pytest.approx(0.5, abs=0.02)
    assert found.intercept == pytest.approx(-1, abs=0.03)


def test_logits_of_any_scale():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 5000)
    labels = rng.random(len(logits)) < 1 / (1 + np.exp(-logits))
    plain, huge = Platt.fit(logits, labels), Platt.fit(logits * 1e6 + 1e7, labels)
    np.testing.assert_allclose(huge(logits * 1e6 + 1e7), plain(logits), rtol=1e-6)
