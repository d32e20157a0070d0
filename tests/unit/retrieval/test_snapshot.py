import numpy as np
import pytest

from retrieval import snapshot as module
from retrieval.clusters import unit
from retrieval.snapshot import build_snapshot
from tests.unit.retrieval.worlds import planted


def test_a_row_holds_the_users_cluster_shares_heaviest_first():
    world = planted()
    table = world.snapshot(size=8)
    for user in (0, 5, 77):
        mine = world.clusters.assignment[world.event_items[world.event_users == user]]
        expected = np.bincount(mine, minlength=8) / len(mine)
        got = np.zeros(8)
        real = table.clusters[user] >= 0
        got[table.clusters[user][real]] = table.weights[user][real]
        np.testing.assert_allclose(got, expected, atol=1e-6)
        assert (np.diff(table.weights[user]) <= 0).all()
        assert (table.weights[user][~real] == 0).all()


def test_a_centroid_is_the_mean_direction_of_the_users_items_in_the_cluster():
    world = planted()
    table = world.snapshot()
    cluster = table.clusters[3, 0]
    items = world.event_items[world.event_users == 3]
    inside = items[world.clusters.assignment[items] == cluster]
    np.testing.assert_allclose(table.centroids[3, 0], unit(world.items[inside, :-1].mean(0)), atol=2e-3)


def test_small_blocks_of_events_change_nothing(monkeypatch):
    world = planted()
    whole = world.snapshot()
    monkeypatch.setattr(module, "_BLOCK", 5)
    np.testing.assert_array_equal(world.snapshot().centroids, whole.centroids)


def test_fewer_clusters_than_a_user_has_are_the_heaviest_and_sum_to_one():
    table = planted().snapshot(size=1)
    assert table.clusters.shape == (120, 1)
    np.testing.assert_allclose(table.weights, 1)


def test_the_sample_is_seeded_and_bounded():
    world = planted()
    one, same, other = (
        world.snapshot(max_users=20),
        world.snapshot(max_users=20),
        world.snapshot(max_users=20, seed=1),
    )
    assert len(one) == 20
    np.testing.assert_array_equal(one.vectors, same.vectors)
    assert not np.array_equal(one.vectors, other.vectors)


def test_users_with_too_few_events_are_left_out():
    world = planted()
    assert len(world.snapshot(min_events=13)) == 0
    assert world.snapshot(min_events=13).centroids.shape[2] == 8


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_events_without_weight_leave_an_empty_mixture(weight):
    table = build_snapshot(
        np.ones((1, 3), np.float32),
        np.zeros(4, np.int32),
        np.array([0, 1, 0, 1], np.int32),
        np.full(4, weight, np.float32),
        np.array([[1, 0, 0], [0, 1, 0]], np.float32),
        np.array([0, 1], np.int32),
        size=3,
        max_users=5,
        seed=0,
    )
    assert table.weights.sum() == pytest.approx(weight)
    assert (table.clusters >= 0).sum() == (2 if weight else 0)
