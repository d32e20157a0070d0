from __future__ import annotations

import numpy as np

from retrieval.factors import Factors
from retrieval.index import IndexSettings, build_index

VECTORS = np.random.default_rng(1).normal(size=(50, 6)).astype(np.float32)


def factors() -> Factors:
    return Factors(VECTORS, build_index(VECTORS, IndexSettings("flat"), 0), alpha=20.0, l2=3.0)


def test_a_user_is_the_solution_of_the_weighted_least_squares() -> None:
    history = np.array([4, 9, 9, 30], np.int32)
    met = np.isin(np.arange(50), history)
    weight = np.where(met, 20.0, 1.0)
    normal = (VECTORS * weight[:, None]).T @ VECTORS + 3.0 * np.eye(6)
    expected = np.linalg.solve(normal, VECTORS.T @ (weight * met))
    np.testing.assert_allclose(factors().user(history), expected, rtol=1e-4)


def test_a_search_is_the_order_of_the_inner_products() -> None:
    history = np.array([4, 9], np.int32)
    rows, scores = factors().search(history, 7)
    products = VECTORS @ factors().user(history)
    assert rows.tolist() == np.argsort(-products)[:7].tolist()
    np.testing.assert_allclose(scores, products[rows], rtol=1e-5)


def test_no_history_or_no_room_finds_nothing() -> None:
    assert len(factors().search(np.zeros(0, np.int32), 5)[0]) == 0
    assert len(factors().search(np.array([1], np.int32), 0)[0]) == 0
    assert len(factors().search(np.array([1], np.int32), 500)[0]) == 50
