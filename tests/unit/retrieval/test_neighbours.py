import numpy as np
import pytest

from retrieval import cooccurrence
from retrieval.neighbours import Neighbours, build_neighbours, top_neighbours


def brute_force(users, items, item_count, shrinkage):
    seen = np.zeros((users.max() + 1, item_count))
    seen[users, items] = 1
    both = seen.T @ seen
    count = np.diag(both)
    similarity = both / (np.sqrt(np.outer(count, count)) + shrinkage)
    np.fill_diagonal(similarity, 0)
    return similarity.astype(np.float32)


@pytest.mark.parametrize("budget", [7, 300, 1 << 22])
def test_cooccurrence_lists_equal_brute_force_whatever_the_block_size(monkeypatch, budget):
    monkeypatch.setattr(cooccurrence, "PAIRS", budget)
    rng = np.random.default_rng(0)
    users = rng.integers(0, 40, 600).astype(np.int32)
    items = np.minimum(rng.geometric(0.08, 600), 49).astype(np.int32)
    built = build_neighbours(users, items, 50, 6, shrinkage=3.0)
    expected = top_neighbours([brute_force(users, items, 50, 3.0)], 6)
    np.testing.assert_array_equal(built.rows, expected.rows)
    np.testing.assert_allclose(built.scores, expected.scores, rtol=1e-6)


def test_an_item_is_never_its_own_neighbour_and_unseen_items_have_none():
    users = np.array([0, 0, 1, 1], np.int32)
    items = np.array([0, 1, 0, 1], np.int32)
    built = build_neighbours(users, items, 4, 3)
    assert built.rows.tolist() == [[1, -1, -1], [0, -1, -1], [-1, -1, -1], [-1, -1, -1]]
    assert (built.scores[built.rows < 0] == 0).all()


def test_repeated_events_count_once():
    users = np.array([0, 0, 0, 0], np.int32)
    items = np.array([0, 1, 1, 1], np.int32)
    assert build_neighbours(users, items, 2, 1, shrinkage=1.0).scores[0, 0] == pytest.approx(0.5)


def test_shrinkage_prefers_the_pair_with_more_support():
    users = np.repeat(np.arange(21, dtype=np.int32), 2)
    pairs = [(0, 1)] + [(2, 3)] * 20
    built = build_neighbours(users, np.array(pairs, np.int32).ravel(), 4, 1, shrinkage=10.0)
    assert built.scores[2, 0] > built.scores[0, 0]


def test_only_the_newest_part_of_a_long_history_counts():
    users = np.zeros(5, np.int32)
    items = np.array([0, 1, 2, 3, 1], np.int32)
    built = build_neighbours(users, items, 4, 3, max_history=2)
    assert built.rows.tolist() == [[-1, -1, -1], [3, -1, -1], [-1, -1, -1], [1, -1, -1]]


def test_no_interaction_at_all():
    nothing = np.zeros(0, np.int32)
    assert (build_neighbours(nothing, nothing, 3, 2).rows == -1).all()
    assert build_neighbours(nothing, nothing, 0, 2).rows.shape == (0, 2)


def test_blocks_of_a_similarity_matrix_give_what_the_whole_gives():
    similarity = np.random.default_rng(1).normal(size=(30, 30)).astype(np.float32)
    whole = top_neighbours([similarity], 5)
    parts = top_neighbours(np.split(similarity, [7, 20]), 5)
    np.testing.assert_array_equal(whole.rows, parts.rows)
    assert (whole.scores[whole.rows >= 0] > 0).all()


def test_values_that_are_not_finite_are_no_neighbours_and_ties_go_by_row():
    similarity = np.array([[9, np.nan, 1, 1], [np.inf, 9, 1, 1], [0, 0, 9, 0], [1, 1, 1, 9]], np.float32)
    assert top_neighbours([similarity], 2).rows.tolist() == [[2, 3], [2, 3], [-1, -1], [0, 1]]


@pytest.fixture
def lists() -> Neighbours:
    rows = np.array([[1, 2], [0, -1], [0, 3], [2, 1]], np.int32)
    scores = np.array([[0.5, 0.25], [0.5, 0], [0.25, 0.125], [0.125, 0.1]], np.float32)
    return Neighbours(rows, scores)


def test_a_history_sums_weighted_similarities_best_first(lists):
    rows, scores = lists.score(np.array([0, 3], np.int32), np.array([1.0, 2.0], np.float32))
    assert rows.tolist() == [1, 2]
    np.testing.assert_allclose(scores, [0.7, 0.5])


def test_given_rows_of_a_large_table_have_the_sums_of_all():
    rng = np.random.default_rng(3)
    rows = np.argsort(rng.random((3000, 3000)), axis=1)[:, :7].astype(np.int32)
    rows[rng.random(rows.shape) < 0.1] = -1
    scores = np.where(rows < 0, 0, rng.random(rows.shape)).astype(np.float32)
    lists = Neighbours(rows, scores)
    history, weights = rng.permutation(3000)[:90].astype(np.int32), rng.random(90).astype(np.float32)
    some = rng.permutation(3000)[:150].astype(np.int32)
    dense = lists.score_all(history[None], weights[None])[0]
    assert np.count_nonzero(dense[some]) > 20
    np.testing.assert_array_equal(lists.score_rows(history, weights, some), dense[some])


def test_sparse_given_rows_and_dense_batch_agree(lists):
    history, weights = np.array([0, 2, 3], np.int32), np.array([1, 0.5, 2], np.float32)
    dense = lists.score_all(history[None], weights[None])[0]
    rows, scores = lists.score(history, weights)
    np.testing.assert_allclose(dense[rows], scores)
    assert dense.sum() == pytest.approx(scores.sum())
    wanted = np.array([3, 1, 0], np.int32)
    np.testing.assert_allclose(lists.score_rows(history, weights, wanted), dense[wanted])


def test_an_empty_history_has_no_neighbours(lists):
    nothing = np.zeros(0, np.int32), np.zeros(0, np.float32)
    rows, scores = lists.score(*nothing)
    assert rows.dtype == np.int32
    assert len(rows) == len(scores) == 0
    assert lists.score_rows(*nothing, np.array([1, 2], np.int32)).tolist() == [0, 0]
