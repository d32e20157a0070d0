import numpy as np
import pytest

from retrieval import exact
from retrieval.exact import best_scores, exact_search, index_recall, recalls
from retrieval.index import IndexSettings, build_index


class Finds:
    """An index that answers with fixed rows."""

    kind = "flat"

    def __init__(self, rows, size=10):
        self.rows, self.size = np.array(rows, np.int32), size

    def search(self, queries, k):
        return np.zeros((len(queries), k), np.float32), self.rows[:, :k]


@pytest.mark.parametrize("block", [7, 64, 1 << 16])
def test_blocks_give_the_order_of_one_sort(monkeypatch, block):
    monkeypatch.setattr(exact, "_BLOCK", block)
    rng = np.random.default_rng(0)
    vectors = rng.integers(-2, 3, (200, 5)).astype(np.float32)
    queries = rng.integers(-2, 3, (9, 5)).astype(np.float32)
    scores, rows = exact_search(vectors, queries, 20)
    full = queries @ vectors.T
    expected = np.argsort(-full, axis=1, kind="stable")[:, :20]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(scores, np.take_along_axis(full, expected, axis=1))


def test_more_than_there_is():
    scores, rows = exact_search(np.eye(3, dtype=np.float32), np.ones((2, 3), np.float32), 10)
    assert scores.shape == rows.shape == (2, 3)


def test_recall_counts_what_is_missed_and_what_is_padded():
    vectors = np.diag(np.arange(10, 0, -1)).astype(np.float32)
    queries = np.ones((2, 10), np.float32)
    index = Finds([[0, 1, 2, 3], [0, 9, 1, -1]])
    assert index_recall(index, vectors, queries, 4) == pytest.approx((4 + 2) / 8)


def test_a_tie_may_stand_in_for_another():
    vectors = np.array([[2], [1], [1], [1], [0]], np.float32)
    assert index_recall(Finds([[0, 3]], 5), vectors, np.ones((1, 1), np.float32), 2) == 1.0
    assert index_recall(Finds([[0, 4]], 5), vectors, np.ones((1, 1), np.float32), 2) == 0.5


def test_a_flat_index_is_exact_and_a_thin_one_is_not():
    rng = np.random.default_rng(3)
    vectors, queries = (rng.normal(size=(count, 16)).astype(np.float32) for count in (3000, 20))
    flat = build_index(vectors, IndexSettings("flat"), seed=0)
    thin = build_index(vectors, IndexSettings("ivf", lists=60, probes=2), seed=0)
    assert index_recall(flat, vectors, queries, 50) == 1.0
    assert index_recall(thin, vectors, queries, 50) < 0.7


def test_nothing_to_ask_has_no_recall():
    with pytest.raises(ValueError, match="a query and a vector"):
        index_recall(Finds([[0]]), np.ones((1, 2), np.float32), np.zeros((0, 2), np.float32), 1)


@pytest.mark.parametrize("block", [7, 64, 1 << 16])
def test_the_quick_scores_are_those_of_the_exact_search(monkeypatch, block):
    monkeypatch.setattr(exact, "_BLOCK", block)
    rng = np.random.default_rng(0)
    vectors, queries = (rng.normal(size=(count, 5)).astype(np.float32) for count in (200, 30))
    for k in (1, 20, 200, 300):
        np.testing.assert_allclose(
            best_scores(vectors, queries, k), exact_search(vectors, queries, k)[0], rtol=1e-5, atol=1e-5
        )


def test_a_recall_per_query():
    vectors = np.diag(np.arange(10, 0, -1)).astype(np.float32)
    index = Finds([[0, 1, 2, 3], [0, 9, 1, -1]])
    np.testing.assert_array_equal(recalls(index, vectors, np.ones((2, 10), np.float32), 4), [1.0, 0.5])
