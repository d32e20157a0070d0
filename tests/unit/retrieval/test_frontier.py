from __future__ import annotations

import numpy as np
import pytest

from retrieval.frontier import Frontier, fair_share, frontier


def test_the_reference_lies_at_half_the_length_of_the_curve() -> None:
    corner = Frontier(np.array([1.0, 1.0, 0.0]), np.array([0.0, 0.5, 0.5]))
    assert corner.reference == (pytest.approx(0.75), pytest.approx(0.5))
    assert corner.distance(0.75, 0.5) == pytest.approx(0)
    assert corner.distance(0.75, 0.1) == pytest.approx(0.4)


def test_a_case_by_hand() -> None:
    """Four users want item 0, lists of one, four items: each swap costs a quarter of the relevance."""
    found = frontier(np.zeros((4, 1), int), items=4, k=1)
    np.testing.assert_allclose(found.relevance[:4], [1, 0.75, 0.5, 0.25])
    shown = ([0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 2], [0, 1, 2, 3])
    np.testing.assert_allclose(found.fairness[:4], [fair_share(np.array(s)[:, None], 4) for s in shown])
    assert (found.fairness[0], found.fairness[3]) == (pytest.approx(0), pytest.approx(1))


def test_no_relevance_is_lost_where_everybody_wants_something_else() -> None:
    found = frontier(np.arange(6)[:, None], items=6, k=1)
    np.testing.assert_allclose(found.relevance, 1)
    np.testing.assert_allclose(found.fairness, 1)
    assert found.distance(1.0, 1.0) == pytest.approx(0)


def random_wishes(users: int, items: int, k: int) -> np.ndarray:
    weight = 1 / np.arange(1, items + 1)
    rng = np.random.default_rng(2)
    return np.stack([rng.choice(items, k, replace=False, p=weight / weight.sum()) for _ in range(users)])


def test_fairness_is_bought_with_relevance_from_the_best_lists_to_the_fairest() -> None:
    found = frontier(random_wishes(60, 30, 3), items=30, k=5)
    assert found.relevance[0] == pytest.approx(1)
    assert found.fairness[-1] == pytest.approx(1)
    assert (np.diff(found.relevance) <= 1e-12).all()
    assert (np.diff(found.fairness) >= -1e-12).all()
    assert found.relevance[-1] < 0.95


def test_no_random_lists_beat_the_frontier() -> None:
    wishes, rng = random_wishes(40, 12, 2), np.random.default_rng(0)
    found = frontier(wishes, items=12, k=2)
    for _ in range(200):
        mixed = np.where(
            rng.random((40, 1)) < rng.random(),
            wishes,
            rng.permuted(np.tile(np.arange(12), (40, 1)), axis=1)[:, :2],
        )
        relevance = np.mean(
            [len(set(a) & set(b)) / 2 for a, b in zip(mixed.tolist(), wishes.tolist(), strict=True)]
        )
        fair = fair_share(mixed, 12)
        able = found.relevance[found.fairness >= fair - 1e-9]
        assert len(able)
        # Two hits of two are worth more at once than apart, so that hits stand for NDCG but for a little.
        assert able.max() >= relevance - 0.03


def test_what_a_user_may_not_see_is_never_listed() -> None:
    seen = np.array([[1, 2, 3], [1, 2, -1]])
    found = frontier(np.array([[0], [0]]), items=4, k=1, seen=seen)
    assert found.relevance.tolist()[:2] == [1, 0.5]
    assert found.fairness[-1] == pytest.approx(1)
    everything = frontier(np.array([[0], [0]]), items=4, k=1, seen=np.array([[1, 2, 3], [1, 2, 3]]))
    np.testing.assert_allclose(everything.relevance, 1)
