"""What every way to learn item-to-item lists must do; `NEIGHBOUR_METHODS` says which there are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.training.config import RetrievalConfig
from models.training.judge import Judge
from models.training.neighbours import EASE_LIMIT, NEIGHBOUR_METHODS, learn_neighbours
from retrieval.neighbours import Neighbours
from tests.support.simulated import simulated_world
from tests.unit.models.data.tiny import events_dataset

COUNT = 30


@pytest.fixture(params=sorted(NEIGHBOUR_METHODS))
def method(request) -> str:
    return request.param


def learn(method: str, dataset=None, events=None, count: int = COUNT) -> Neighbours:
    if dataset is None:
        world = simulated_world()
        dataset, events = world.features.dataset, world.split.train
    return learn_neighbours(dataset, events, RetrievalConfig(neighbours=count, neighbour_method=method))


def two_camps():
    """Users like either the items 0, 1, 2 or the items 3, 4, 5; item 6 is alone, item 7 unknown."""
    users = [user for user in range(20) for _ in range(3)]
    items = [3 * (user % 2) + place for user in range(20) for place in range(3)]
    dataset = events_dataset([*users, 20], [*items, 6], range(61))
    return replace(
        dataset,
        item_ids=[*dataset.item_ids, "unknown"],
        item_records=[*dataset.item_records, {}],
        item_created_ms=np.zeros(8, np.int64),
        item_available=np.ones(8, bool),
        item_bid_micros=np.full(8, -1),
    )


def test_lists_are_whole_distinct_and_best_first(method):
    lists = learn(method)
    items = simulated_world().features.dataset.items
    assert lists.rows.shape == lists.scores.shape == (items, COUNT)
    assert (lists.rows.dtype, lists.scores.dtype) == (np.int32, np.float32)
    for row, (near, scores) in enumerate(zip(lists.rows, lists.scores, strict=True)):
        real = near >= 0
        assert row not in near
        assert len(set(near[real].tolist())) == real.sum()
        assert (np.diff(scores[real]) <= 0).all()
        assert (scores[real] > 0).all()
        assert not scores[~real].any()


def test_neighbours_are_what_the_same_users_like(method):
    lists = learn(method, two_camps(), np.arange(61), count=4)
    near = [set(row[row >= 0].tolist()) for row in lists.rows]
    assert near[:6] == [{1, 2}, {0, 2}, {0, 1}, {4, 5}, {3, 5}, {3, 4}]
    assert near[6:] == [set(), set()]


def test_only_the_given_events_count(method):
    dataset = two_camps()
    camp = np.flatnonzero(dataset.event_item[:60] < 3)
    lists = learn(method, dataset, camp, count=4)
    assert (lists.rows[3:] == -1).all()
    assert set(lists.rows[0].tolist()) == {1, 2, -1}


def test_learning_again_gives_the_same_lists(method):
    one, same = learn(method), learn(method)
    np.testing.assert_array_equal(one.rows, same.rows)
    np.testing.assert_array_equal(one.scores, same.scores)


def test_lists_of_recent_events_beat_popularity(method):
    world = simulated_world()
    lists = learn(method)
    requests, timeline = world.test, world.features.timeline
    scores = np.stack(
        [
            lists.score_all(history[None], np.ones((1, len(history)), np.float32))[0]
            for history in timeline.seen(requests)
        ]
    )
    found = Judge(world.features, requests).ndcg(lambda block: scores[block].copy())
    assert found > 2 * world.popularity_ndcg(requests)


def test_auto_solves_ease_where_the_catalogue_is_small():
    events = np.arange(61)
    auto = learn("auto", two_camps(), events)
    np.testing.assert_array_equal(auto.scores, learn("ease", two_camps(), events).scores)
    large = replace(two_camps(), item_ids=[str(row) for row in range(EASE_LIMIT + 1)])
    auto = learn("auto", large, events)
    np.testing.assert_array_equal(auto.scores, learn("cooccurrence", large, events).scores)


def test_an_unknown_name_is_refused():
    with pytest.raises(
        ValueError, match="unknown neighbour method 'magic'; known are auto, cooccurrence, ease"
    ):
        learn("magic")
