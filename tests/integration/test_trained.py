"""A cascade that was really trained, served over HTTP: lists suit the interests that the world planted."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from tests.support.live_service import ids, live_service
from tests.support.trained import TrainedWorld, train_tiny

USERS = 30
COUNT = 10


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> TrainedWorld:
    return train_tiny(tmp_path_factory.getbasetemp() / "trained")


@pytest.fixture(scope="module")
def served(world: TrainedWorld, redis_url: str) -> Iterator[httpx.Client]:
    with live_service(bundles=world.bundle.parent, redis_url=redis_url, redis_prefix="trained") as client:
        yield client


def load(client: httpx.Client, world: TrainedWorld, user: int) -> None:
    dataset = world.dataset
    events = [
        {
            "user_id": dataset.user_ids[user],
            "item_id": dataset.item_ids[dataset.event_item[e]],
            "event": dataset.event_kinds[dataset.event_kind[e]],
            "timestamp": int(dataset.event_time_ms[e]),
        }
        for e in np.flatnonzero(dataset.event_user == user)
    ]
    assert client.post("/v1/events", json={"events": events}).json()["accepted"] == len(events)
    record = {"attributes": dataset.user_records[user]}
    assert client.put(f"/v1/users/{dataset.user_ids[user]}", json=record).status_code == 204


def test_lists_suit_the_planted_interests(world: TrainedWorld, served: httpx.Client) -> None:
    truth, dataset = world.truth, world.dataset
    busy = np.argsort(-np.bincount(dataset.event_user, minlength=dataset.users), kind="stable")[:USERS]
    ranks = []
    for user in busy.tolist():
        load(served, world, user)
        answer = served.post("/v1/recommend", json={"user_id": dataset.user_ids[user], "count": COUNT})
        assert answer.json()["degraded"] == []
        assert answer.json()["bundle_version"] == world.bundle.name
        listed = [dataset.item_row[item] for item in ids(answer)]
        seen = dataset.event_item[dataset.event_user == user]
        assert not np.isin(listed, seen).any()
        suits = (truth.item_vectors @ truth.interests[user].T).max(axis=1)
        unseen = np.setdiff1d(np.arange(dataset.items), seen)
        ranks.append(np.mean([np.mean(suits[unseen] <= suits[row]) for row in listed]))
    assert np.mean(ranks) > 0.6, "the mean percentile, among unseen items, of how well a listed item suits"
