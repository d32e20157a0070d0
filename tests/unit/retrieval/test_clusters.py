import numpy as np
import pytest

from retrieval.clusters import fit_clusters


def planted(seed: int = 0):
    rng = np.random.default_rng(seed)
    centres = np.eye(8, dtype=np.float32)
    truth = np.repeat(np.arange(8), 50)
    noise = rng.normal(0, 0.05, (400, 8)).astype(np.float32)
    return (centres[truth] + noise) * rng.uniform(0.1, 10, (400, 1)).astype(np.float32), truth


def test_planted_directions_are_found_whatever_the_lengths():
    vectors, truth = planted()
    clusters = fit_clusters(vectors, 8, seed=3)
    purity = sum(np.bincount(clusters.assignment[truth == t]).max() for t in range(8)) / len(truth)
    assert purity > 0.85
    np.testing.assert_allclose(np.linalg.norm(clusters.centroids, axis=1), 1, rtol=1e-5)


def test_the_seed_decides():
    vectors, _ = planted()
    one, same = fit_clusters(vectors, 5, seed=1), fit_clusters(vectors, 5, seed=1)
    np.testing.assert_array_equal(one.centroids, same.centroids)
    np.testing.assert_array_equal(one.assignment, same.assignment)


def test_each_item_is_in_its_nearest_cluster():
    vectors, _ = planted()
    clusters = fit_clusters(vectors, 6, seed=0)
    np.testing.assert_array_equal(clusters.assignment, (vectors @ clusters.centroids.T).argmax(1))


def test_fewer_items_than_clusters():
    clusters = fit_clusters(np.eye(3, 4, dtype=np.float32), 10, seed=0)
    assert clusters.centroids.shape == (3, 4)
    assert sorted(clusters.assignment) == [0, 1, 2]


def test_one_zero_vector_is_no_trouble():
    clusters = fit_clusters(np.zeros((1, 4), np.float32), 2, seed=0)
    assert np.isfinite(clusters.centroids).all()
    assert clusters.assignment.tolist() == [0]


@pytest.mark.parametrize(
    ("vectors", "count"),
    [(np.zeros((0, 4)), 2), (np.ones((3, 4)), 0), (np.full((3, 4), np.nan), 2), (np.full((3, 4), np.inf), 2)],
)
def test_what_cannot_be_clustered_is_refused(vectors, count):
    with pytest.raises(ValueError, match=r"cannot make|not finite"):
        fit_clusters(vectors.astype(np.float32), count, seed=0)
