from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.thompson import SAMPLES, Posterior, compete, propensities, slate, slates

EXPONENTIAL = np.ones(3)
"""Gamma(1, 1) is exponential, of rate 1 / score: from the last to the first, rates are the odds."""
SCORES = np.array([0.1, 0.3, 0.6], np.float32)


def order_chance(first: int, second: int, last: int) -> float:
    """How probable an order of three exponentials is."""
    rates = 1 / SCORES.astype(np.float64)
    return float(rates[last] / rates.sum() * rates[second] / (rates[first] + rates[second]))


def first_chances() -> np.ndarray:
    return np.array(
        [sum(order_chance(i, j, 3 - i - j) for j in range(3) if j != i) for i in range(3)], np.float64
    )


def many(scores: np.ndarray, shape: np.ndarray, size: int, rounds: int = 40) -> np.ndarray:
    return np.concatenate([slates(scores, shape, size, np.random.default_rng(r)) for r in range(rounds)])


def test_the_first_place_is_drawn_as_the_posterior_says() -> None:
    first = many(SCORES, EXPONENTIAL, 1)[:, 0]
    error = np.sqrt(0.25 / len(first))
    np.testing.assert_allclose(np.bincount(first, minlength=3) / len(first), first_chances(), atol=4 * error)


def test_two_places_have_the_chances_that_interleaving_gives_them() -> None:
    """First of list 1, then first of list 2 unless it is the same: then the second of list 1."""
    p = first_chances()
    found = many(SCORES, EXPONENTIAL, 2, 200)
    error = np.sqrt(0.25 / len(found))
    for a in range(3):
        for b in {0, 1, 2} - {a}:
            chance = p[a] * p[b] + order_chance(a, b, 3 - a - b) * p[a]
            share = ((found[:, 0] == a) & (found[:, 1] == b)).mean()
            assert abs(share - chance) < 4 * error, (a, b, share, chance)


def test_one_slate_is_drawn_as_the_samples_are() -> None:
    rng = np.random.default_rng(0)
    scores, shape = np.array([0.5, 0.4, 0.3, 0.1], np.float32), np.array([3.0, 1.0, 0.5, 8.0])
    single = np.stack([slate(scores, shape, 3, rng) for _ in range(8000)])
    sampled = many(scores, shape, 3)
    for place in range(3):
        one, other = (np.bincount(each[:, place], minlength=4) / len(each) for each in (single, sampled))
        np.testing.assert_allclose(one, other, atol=0.03)


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 5))
def test_slates_hold_each_item_once_and_as_many_as_there_are(count: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, shape = rng.random(count).astype(np.float32) + 0.01, rng.random(count) * 5 + 0.01
    found = slates(scores, shape, size, rng)
    assert found.shape == (SAMPLES, min(size, count))
    assert all(len(set(row)) == len(row) for row in found.tolist())
    assert len(set(slate(scores, shape, size, rng).tolist())) == min(size, count)


def test_who_is_sure_lists_by_score() -> None:
    scores = np.array([0.2, 0.5, 0.3, 0.4], np.float32)
    assert (slates(scores, np.full(4, 1e9), 3, np.random.default_rng(0)) == [1, 3, 2]).all()


def test_what_nobody_knows_is_tried_more_often() -> None:
    scores = np.array([0.5, 0.4, 0.4], np.float32)
    found = many(scores, np.array([400.0, 400.0, 1.0]), 1)[:, 0]
    shares = np.bincount(found, minlength=3) / len(found)
    assert shares[1] < 0.01 < 0.25 < shares[2]


def test_a_seed_has_its_slate() -> None:
    scores, shape = np.linspace(0.1, 0.5, 30).astype(np.float32), np.full(30, 2.0)
    one, same, other = (slate(scores, shape, 10, np.random.default_rng(seed)).tolist() for seed in (1, 1, 2))
    assert one == same != other


def test_propensities_are_the_share_of_slates_with_the_item_in_its_place() -> None:
    sampled = np.array([[0, 1], [0, 2], [1, 0]])
    np.testing.assert_allclose(propensities(np.array([0, 1]), sampled), [3 / 4, 2 / 4])
    np.testing.assert_allclose(propensities(np.array([5]), sampled), [1 / 4])


def test_weights_have_the_mean_that_the_document_states() -> None:
    """E[1 / p'] = (1 - (1 - p)^(S + 1)) / p for p' = (1 + Binomial(S, p)) / (S + 1)."""
    rng, count = np.random.default_rng(3), 100
    for p in (0.005, 0.05, 0.5):
        draws = (rng.random((20_000, count)) < p).astype(np.intp)
        inverse = [1 / propensities(np.array([1]), row[:, None])[0] for row in draws]
        stated = (1 - (1 - p) ** (count + 1)) / p
        assert np.mean(inverse) == pytest.approx(stated, rel=0.03)


def test_only_what_may_be_among_the_best_competes() -> None:
    scores = np.array([0.9, 0.5, np.nan, 0.0, 0.4, 0.3, 0.2, 0.1], np.float32)
    shape = np.array([100, 100, 100, 100, 100, 100, 100, 0.01])
    assert compete(scores, shape, 1).tolist() == [0, 1, 4, 7]
    assert compete(scores, shape, 9).tolist() == [0, 1, 4, 5, 6, 7]


def test_a_posterior_narrows_with_events_and_widens_with_the_knob() -> None:
    posterior = Posterior(2.0, 0.5)
    assert posterior.shape(np.array([0, 4])).tolist() == [2.0, 4.0]
    assert posterior.shape(np.array([0, 4]), width=2.0).tolist() == [0.5, 1.0]
    assert Posterior.from_json(posterior.to_json()) == posterior


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"prior": 1.0}, "prior and per_event"),
        ({"prior": 0.0, "per_event": 1.0}, "above 0"),
        ({"prior": 1.0, "per_event": -1.0}, "0 or more"),
        ({"prior": float("nan"), "per_event": 1.0}, "above 0"),
    ],
)
def test_a_posterior_that_is_none_is_refused(raw: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Posterior.from_json(raw)
