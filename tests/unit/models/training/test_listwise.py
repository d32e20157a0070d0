import numpy as np
import pytest

from models.training.listwise import fit_listwise


def world(weights, lists: int = 400, seed: int = 0):
    """Lists whose targets are drawn by the softmax of the true weights."""
    random = np.random.default_rng(seed)
    weights = np.asarray(weights, np.float64)
    features = [
        random.normal(size=(random.integers(3, 12), len(weights))).astype(np.float32) for _ in range(lists)
    ]
    targets = []
    for each in features:
        chance = np.exp(each @ weights)
        targets.append(int(random.choice(len(each), p=chance / chance.sum())))
    return features, targets


def test_it_finds_the_weights_that_made_the_choices():
    found = fit_listwise(*world([1.5, -0.7, 0.0], lists=3000))
    np.testing.assert_allclose(found, [1.5, -0.7, 0.0], atol=0.12)


def test_columns_that_say_the_same_share_their_weight():
    features, targets = world([1.5])
    alone = fit_listwise(features, targets)
    twice = fit_listwise([np.repeat(each, 2, axis=1) for each in features], targets)
    assert twice[0] == pytest.approx(twice[1], rel=1e-3)
    assert twice.sum() == pytest.approx(alone[0], rel=1e-2)


def test_the_padding_of_short_lists_is_no_candidate():
    """A padded place has features 0, which a negative weight would prefer to every real one."""
    features = [np.array([[1.0], [2.0]], np.float32)] * 50 + [np.ones((9, 1), np.float32)]
    found = fit_listwise(features, [0] * 51)
    assert found[0] < -1.0


def test_what_decides_everything_stays_finite():
    features = [np.array([[1.0], [0.0], [0.0]], np.float32)] * 20
    found = fit_listwise(features, [0] * 20)
    assert np.isfinite(found).all()
    assert found[0] > 3


def test_fitting_again_gives_the_same_weights():
    np.testing.assert_array_equal(fit_listwise(*world([1.0, 2.0])), fit_listwise(*world([1.0, 2.0])))
