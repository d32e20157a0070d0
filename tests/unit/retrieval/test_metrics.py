import numpy as np
import pytest

from retrieval import metrics

RANKED = np.array([[5, 3, 1], [2, 0, -1], [7, 8, 9]])


def test_hit_rate_and_reciprocal_rank_of_one_relevant_item():
    relevant = np.array([3, 1, 9])
    assert metrics.hit_rate(RANKED, relevant, 3).tolist() == [1, 0, 1]
    assert metrics.hit_rate(RANKED, relevant, 2).tolist() == [1, 0, 0]
    np.testing.assert_allclose(metrics.mrr(RANKED, relevant, 3), [1 / 2, 0, 1 / 3])


def test_ndcg_of_one_relevant_item_is_its_discount():
    np.testing.assert_allclose(metrics.ndcg(RANKED, np.array([3, 1, 9]), 3), [1 / np.log2(3), 0, 0.5])


def test_several_relevant_items_share_recall_and_the_ideal_list():
    relevant = np.array([[5, 1, 4], [0, 2, -1], [1, -1, -1]])
    np.testing.assert_allclose(metrics.recall(RANKED, relevant, 3), [2 / 3, 1, 0])
    ideal = 1 + 1 / np.log2(3) + 0.5
    np.testing.assert_allclose(metrics.ndcg(RANKED, relevant, 3), [1.5 / ideal, 1, 0])


def test_more_relevant_items_than_places_can_still_be_perfect():
    assert metrics.ndcg(np.array([[1, 2]]), np.array([[1, 2, 3, 4]]), 2).tolist() == [1.0]


def test_a_repeated_item_counts_once_and_padding_never():
    assert metrics.recall(np.array([[4, 4, -1]]), np.array([[4, 6, -1]]), 3).tolist() == [0.5]
    assert metrics.ndcg(np.array([[4, 4, -1]]), np.array([4]), 3).tolist() == [1.0]


def test_a_user_without_a_relevant_item_is_refused():
    with pytest.raises(ValueError, match="leave such users out"):
        metrics.recall(RANKED, np.array([[1], [-1], [2]]), 3)


def test_a_list_shorter_than_the_cutoff_is_judged_as_it_is():
    values = metrics.ranking_metrics(RANKED, np.array([3, 1, 9]), cutoffs=(3, 50))
    assert set(values) == {f"{name}@{k}" for name in ("HR", "NDCG", "Recall", "MRR") for k in (3, 50)}
    np.testing.assert_array_equal(values["NDCG@50"], values["NDCG@3"])


def test_mean_comes_with_its_standard_error():
    mean, error = metrics.mean_and_error(np.array([0.0, 1.0, 0.0, 1.0]))
    assert mean == 0.5
    assert error == pytest.approx(np.std([0, 1, 0, 1], ddof=1) / 2)


def test_coverage_of_what_is_listed():
    assert metrics.coverage(RANKED, 16) == 8 / 16


def test_novelty_is_the_information_of_rare_items():
    counts = np.array([6, 2, 0, 0])
    ranked = np.array([[0, -1], [0, 2], [-1, -1]])
    np.testing.assert_allclose(
        metrics.novelty(ranked, counts), [np.log2(12 / 7), (np.log2(12 / 7) + np.log2(12)) / 2, np.nan]
    )


def test_serendipity_counts_hits_that_a_primitive_list_lacks():
    ranked = np.array([[0, 1, 2], [0, 1, 2]])
    expected = np.array([[1, 5, 6], [1, 5, 6]])
    relevant = np.array([[0, 1, 9, -1], [1, -1, -1, -1]])
    assert metrics.serendipity(ranked, expected, relevant).tolist() == [1 / 3, 0.0]


def test_distance_is_the_mean_over_pairs():
    vectors = np.array([[1, 0], [0, 2], [3, 0], [-1, 0]], np.float32)
    ranked = np.array([[0, 1, 2], [0, 3, -1], [0, -1, -1]])
    np.testing.assert_allclose(metrics.mean_pairwise_distance(ranked, vectors), [2 / 3, 2, np.nan])


def brute_auc(labels, scores):
    positive, negative = scores[labels], scores[~labels]
    difference = positive[:, None] - negative[None, :]
    return ((difference > 0) + 0.5 * (difference == 0)).mean()


def test_auc_equals_brute_force_with_ties():
    rng = np.random.default_rng(0)
    labels, scores = rng.random(300) < 0.3, rng.integers(0, 12, 300) / 10
    assert metrics.auc(labels, scores) == pytest.approx(brute_auc(labels, scores))
    assert np.isnan(metrics.auc(np.ones(3, bool), np.arange(3.0)))
    assert np.isnan(metrics.auc(np.zeros(0, bool), np.zeros(0)))


def test_gauc_weighs_the_groups_that_have_both_classes():
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 20, 400)
    labels, scores = rng.random(400) < 0.2, rng.integers(0, 50, 400) / 50
    labels[groups == 3] = False
    total = weight = 0.0
    for group in range(20):
        part = groups == group
        if labels[part].any() and not labels[part].all():
            total += part.sum() * brute_auc(labels[part], scores[part])
            weight += part.sum()
    assert metrics.gauc(labels, scores, groups) == pytest.approx(total / weight)
    assert np.isnan(metrics.gauc(np.ones(2, bool), np.ones(2), np.array([0, 1])))


def test_log_loss_is_finite_at_certainty():
    assert metrics.log_loss(np.array([1, 0]), np.array([0.8, 0.2])) == pytest.approx(-np.log(0.8))
    assert np.isfinite(metrics.log_loss(np.array([1, 0]), np.array([0.0, 1.0])))


def test_calibration_errors_see_what_is_planted():
    rng = np.random.default_rng(2)
    truth = rng.random(40_000) * 0.5
    labels = rng.random(40_000) < truth
    assert metrics.ece(labels, truth) < 0.01
    assert metrics.ece(labels, truth + 0.1) == pytest.approx(0.1, abs=0.01)
    assert metrics.copc(labels, truth) == pytest.approx(1, abs=0.03)
    assert metrics.copc(labels, 2 * truth) == pytest.approx(2, abs=0.06)
    assert np.isnan(metrics.copc(np.zeros(3), np.ones(3)))


def test_bins_of_equal_mass_do_not_let_errors_cancel_across_them():
    labels = np.array([0, 0, 1, 1])
    assert metrics.ece(labels, np.array([0.1, 0.1, 0.9, 0.9]), bins=2) == pytest.approx(0.1)
    assert metrics.ece(labels, np.array([0.5, 0.5, 0.5, 0.5]), bins=1) == pytest.approx(0)


def test_the_paired_test_finds_a_planted_difference_and_no_other():
    rng = np.random.default_rng(3)
    base = rng.random(1000)
    better = metrics.paired_test(base + 0.01 + rng.normal(0, 0.05, 1000), base)
    assert better.difference == pytest.approx(0.01, abs=0.005)
    assert better.p_value < 1e-4
    assert metrics.paired_test(base, base).p_value == 1.0
    chance = [metrics.paired_test(rng.normal(size=200), rng.normal(size=200)).p_value for _ in range(400)]
    assert 0.02 < np.mean(np.array(chance) < 0.05) < 0.09


def test_a_paired_test_needs_pairs():
    with pytest.raises(ValueError, match="equally long"):
        metrics.paired_test(np.ones(3), np.ones(4))


def test_the_bootstrap_interval_holds_the_mean_and_repeats():
    values = np.random.default_rng(4).normal(0.3, 1, 500)
    low, high = metrics.bootstrap_interval(values, seed=1, rounds=500)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(500), rel=0.2)
    assert metrics.bootstrap_interval(values, seed=1, rounds=500) == (low, high)
