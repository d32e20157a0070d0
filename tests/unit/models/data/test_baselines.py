import numpy as np
import pytest
from scipy import sparse

from models.data.baselines import BASELINES, ease, ials, interactions, item_knn, popularity, rank, tune
from models.data.simulator import simulate
from models.data.splits import leave_last_out
from retrieval.metrics import ndcg, paired_test
from tests.unit.models.data.tiny import events_dataset


@pytest.fixture(scope="module")
def world():
    dataset, _ = simulate(users=400, items=300, seed=3, sessions=6)
    return dataset, leave_last_out(dataset)


@pytest.fixture(scope="module")
def quality(world):
    """NDCG@20 per test user of each baseline, fitted with its defaults."""
    dataset, split = world
    train = interactions(dataset, split.train_and_validation)
    histories = train[dataset.event_user[split.test]]
    target = dataset.event_item[split.test]
    return {name: ndcg(rank(fit(train), histories, 20), target, 20) for name, (fit, _) in BASELINES.items()}


@pytest.mark.parametrize("name", ["item-kNN", "EASE", "iALS"])
def test_each_personal_baseline_beats_popularity_on_a_planted_world(quality, name):
    comparison = paired_test(quality[name], quality["popularity"])
    assert comparison.difference > 0
    assert comparison.p_value < 0.01


def test_repeated_events_count_once():
    dataset = events_dataset(users=[0, 0, 1], items=[2, 2, 0], times=[1, 2, 3])
    matrix = interactions(dataset, np.arange(3))
    assert matrix.toarray().tolist() == [[0, 0, 1], [1, 0, 0]]


def test_popularity_counts_users():
    train = sparse.csr_matrix(np.array([[1, 0, 1], [1, 1, 0], [1, 0, 0]], np.float32))
    assert popularity(train)(train[:2]).tolist() == [[3, 1, 1], [3, 1, 1]]


def test_item_knn_sums_the_cosines_of_the_nearest():
    train = sparse.csr_matrix(np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1]], np.float32))
    scores = item_knn(train)(sparse.csr_matrix(np.array([[1, 0, 0]], np.float32)))
    np.testing.assert_allclose(scores, [[0, 1, 0.5]], atol=1e-6)
    nearest = item_knn(train, k=1)(sparse.csr_matrix(np.array([[1, 0, 0]], np.float32)))
    np.testing.assert_allclose(nearest, [[0, 1, 0]], atol=1e-6)


def test_ease_solves_each_items_own_ridge_regression():
    rng = np.random.default_rng(0)
    dense = (rng.random((40, 6)) < 0.4).astype(np.float64)
    others = [0, 1, 2, 4, 5]
    expected = np.linalg.solve(
        dense[:, others].T @ dense[:, others] + 3 * np.eye(5), dense[:, others].T @ dense[:, 3]
    )
    scores = ease(sparse.csr_matrix(dense, dtype=np.float32), l2=3.0)(
        sparse.csr_matrix(np.eye(6, dtype=np.float32))
    )
    np.testing.assert_allclose(scores[others, 3], expected, rtol=1e-4)
    np.testing.assert_allclose(np.diag(scores), 0, atol=1e-6)


def test_ials_repeats_with_its_seed_and_folds_in_an_empty_history(world):
    dataset, split = world
    train = interactions(dataset, split.train)
    empty = sparse.csr_matrix((1, dataset.items), dtype=np.float32)
    first, second = (ials(train, dimensions=8, iterations=2, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first(train[:9]), second(train[:9]))
    np.testing.assert_array_equal(first(empty), 0)


def test_ranking_removes_the_history_breaks_ties_by_row_and_pads():
    histories = sparse.csr_matrix(np.array([[0, 1, 0, 0], [1, 1, 1, 0]], np.float32))
    ranked = rank(lambda block: np.array([[1, 9, 1, 2], [1, 1, 1, 1]], np.float32), histories, k=3)
    assert ranked.tolist() == [[3, 0, 2], [3, -1, -1]]


def test_tuning_chooses_by_validation_and_refits(world):
    dataset, split = world
    tuned = tune("item-kNN", dataset, split)
    assert tuned.settings in BASELINES["item-kNN"][1]
    assert tuned.validation_ndcg > 0
    refitted = item_knn(interactions(dataset, split.train_and_validation), **tuned.settings)
    history = interactions(dataset, split.train)[:5]
    np.testing.assert_array_equal(tuned.scorer(history), refitted(history))
