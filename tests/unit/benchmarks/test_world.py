from pathlib import Path

import numpy as np
import pytest

from benchmarks.bundle import PLAN, STATED, user_vectors, write_bundle
from benchmarks.graphs import SCALE
from benchmarks.world import CENTRES, DIM, MOST_EVENTS, World, draw_world, item_id
from models.encode import encode_history
from models.graph import history_inputs
from service.bundle import Bundle

ITEMS, USERS = 3000, 200


@pytest.fixture(scope="module")
def world() -> World:
    return draw_world(ITEMS, USERS)


@pytest.fixture(scope="module")
def bundle(world: World, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    target = tmp_path_factory.mktemp("bundles") / "small"
    write_bundle(world, target, "ivf")
    return Bundle.open(target)


def test_the_same_seed_gives_the_same_world_and_another_one_another(world):
    again, other = draw_world(ITEMS, USERS), draw_world(ITEMS, USERS, seed=8)
    for name in ("vectors", "topic", "popularity", "starts", "items", "times_ms"):
        np.testing.assert_array_equal(getattr(world, name), getattr(again, name))
    assert not np.array_equal(world.vectors, other.vectors)


def test_a_world_is_the_same_after_it_was_saved(world, tmp_path):
    world.save(tmp_path / "world")
    opened = World.open(tmp_path / "world")
    np.testing.assert_array_equal(opened.vectors, world.vectors)
    assert (len(opened), opened.users) == (ITEMS, USERS)


def test_users_have_up_to_two_hundred_events_oldest_first(world):
    counts = np.diff(world.starts)
    assert 0 <= counts.min() < 20
    assert 180 < counts.max() <= MOST_EVENTS
    for user in range(USERS):
        assert (np.diff(world.times_ms[world.events_of(user)]) >= 0).all()


def test_events_come_from_few_tastes_and_popular_items(world):
    """A tenth of the topics holds nearly all of a user's events; they are by far not spread evenly."""
    shares = []
    for user in np.flatnonzero(np.diff(world.starts) >= 50):
        topics = world.topic[world.items[world.events_of(user)]]
        shares.append(np.sort(np.bincount(topics, minlength=CENTRES))[-5:].sum() / len(topics))
    assert np.mean(shares) > 0.6
    busiest = np.sort(world.popularity)[-ITEMS // 10 :].sum() / world.popularity.sum()
    assert busiest > 0.3


def test_clusters_overlap(world):
    """Many an item has its nearest neighbour in another cluster, or no index would have to work."""
    directions = world.vectors[:, :DIM]
    likeness = directions @ directions.T
    np.fill_diagonal(likeness, -1.0)
    elsewhere = world.topic[likeness.argmax(axis=1)] != world.topic
    assert 0.1 < elsewhere.mean() < 0.9


def test_the_bundle_is_served_like_any_other(bundle, world):
    assert bundle.item_ids[ITEMS - 1] == item_id(ITEMS - 1)
    assert bundle.index_card.kind == "ivf"
    assert bundle.index_card.recall.measured >= STATED
    assert bundle.plan == PLAN


def test_the_user_tower_points_to_where_the_events_are(bundle, world):
    user = next(one for one in range(USERS) if 5 < np.diff(world.starts)[one] <= 50)
    part = world.events_of(user)
    rows, times = world.items[part], world.times_ms[part]
    history = encode_history(bundle.schema, rows, np.ones(len(rows), np.int64), times, int(times[-1]))
    profile = np.zeros((1, 1), np.int64)
    answer = bundle.user_tower.run(**history_inputs(history, profile, world.vectors))
    np.testing.assert_allclose(answer, user_vectors(world, np.array([user])), rtol=1e-4, atol=1e-4)
    assert np.linalg.norm(answer[0, :-1]) == pytest.approx(SCALE, rel=1e-4)


def test_a_cached_world_is_never_half_written(world, tmp_path: Path):
    (tmp_path / "world").mkdir()
    with pytest.raises(FileExistsError):
        world.save(tmp_path / "world")
