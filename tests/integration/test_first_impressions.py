"""From PUT to the first impression, over real HTTP and a real Redis with two services."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from tests.support.live_service import ids, live_service

PATIENCE_S = 60.0
RULE = {"field": "year", "op": "==", "value": 2222}


def waits(*clients: httpx.Client) -> tuple[float, float]:
    """How many first impressions all services counted, and their seconds."""
    count = total = 0.0
    for client in clients:
        for line in client.get("/metrics").text.splitlines():
            if line.startswith("cascada_first_impression_seconds_count"):
                count += float(line.split()[-1])
            if line.startswith("cascada_first_impression_seconds_sum"):
                total += float(line.split()[-1])
    return count, total


def counted(wanted: float, *clients: httpx.Client) -> tuple[float, float]:
    deadline = time.monotonic() + PATIENCE_S
    while waits(*clients)[0] < wanted and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    return waits(*clients)


def test_a_new_item_is_counted_once_by_whoever_shows_it_first(bundles: Path, redis_url: str) -> None:
    settings = {"bundles": bundles, "redis_url": redis_url, "redis_prefix": "first_impressions"}
    with live_service(**settings) as one, live_service(**settings) as other:
        one.put("/v1/items/new", json={"title": "New", "attributes": {"year": 2222}})
        one.patch("/v1/items/item-3", json={"attributes": {"year": 2222}})
        time.sleep(0.3)
        one.patch("/v1/items/new", json={"title": "Newer"})
        assert waits(one, other)[0] == 0
        deadline = time.monotonic() + PATIENCE_S
        while "new" not in ids(other.post("/v1/recommend", json={"filter": RULE})):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        count, seconds = counted(1, one, other)
        assert count == 1
        assert 0.3 <= seconds <= PATIENCE_S  # since the first PUT, not since the patch
        for client in (one, other):
            assert set(ids(client.post("/v1/recommend", json={"filter": RULE}))) == {"new", "item-3"}
        time.sleep(0.5)
        assert waits(one, other)[0] == 1
