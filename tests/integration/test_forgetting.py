"""Marks of deleted items come to an end, but never while they are needed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import redis

from service.features.keys import Keys
from tests.support.live_service import PATIENCE_S, ids, live_service

PREFIX = "forgetting"


def soon(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def test_redis_forgets_deleted_items_that_the_bundle_does_not_hold(bundles: Path, redis_url: str) -> None:
    records = Keys(PREFIX).item_records
    settings = {"bundles": bundles, "redis_url": redis_url, "redis_prefix": PREFIX}
    with redis.Redis.from_url(redis_url) as store, live_service(**settings) as client:
        client.put("/v1/items/stays", json={"title": "stays"}).raise_for_status()
        for number in range(30):
            client.put(f"/v1/items/goes-{number}", json={"title": "goes"}).raise_for_status()
            client.delete(f"/v1/items/goes-{number}").raise_for_status()
        client.delete("/v1/items/item-3").raise_for_status()
        assert store.hlen(records) == 32
        # Another replica, which forgets sooner.
        with live_service(**settings, deleted_item_hours=0.2 / 3600) as other:
            soon(lambda: store.hlen(records) == 2)
            assert set(store.hkeys(records)) == {b"stays", b"item-3"}
            assert store.zcard(Keys(PREFIX).item_order) == 2
            for replica in (client, other):
                assert replica.get("/v1/items/item-3").status_code == 404
                assert replica.get("/v1/items/goes-0").status_code == 404
                assert "item-3" not in ids(replica.post("/v1/recommend", json={"count": 100}))
                found = ids(replica.post("/v1/search", json={"query": "goes stays", "count": 100}))
                assert "stays" in found
                assert not [one for one in found if one.startswith("goes")]
    with live_service(**settings) as later:
        assert later.get("/v1/items/item-3").status_code == 404
        assert later.get("/v1/items/stays").status_code == 200
