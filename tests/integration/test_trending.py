"""Trends over a real Redis: what one process is told, another one shows."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from tests.support.processes import serving

PATIENCE_S = 60.0
QUOTAS = '{"quotas": {"popular": 0.1, "trending": 0.5}}'


def trending(url: str, placement: str) -> list[str]:
    """Items of a stranger's list that the source proposed."""
    answer = httpx.post(
        f"{url}/v1/recommend",
        json={"placement": placement, "count": 50, "include_seen": True},
        timeout=PATIENCE_S,
    )
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"] if "trending" in item["sources"]]


def clicks(url: str, item: str, count: int, **more: object) -> None:
    events = [{"user_id": f"u{n}", "item_id": item, "event": "view", **more} for n in range(count)]
    told = httpx.post(f"{url}/v1/events", json={"events": events}, timeout=PATIENCE_S)
    assert told.json()["accepted"] == count


def test_what_one_process_hears_of_trends_in_the_answers_of_another(bundles: Path, redis_url: str) -> None:
    settings = {
        "CASCADA_REDIS_URL": redis_url,
        "CASCADA_REDIS_PREFIX": "trending",
        "CASCADA_TREND_INTERVAL_MS": "20",
        "CASCADA_PLAN": QUOTAS,
    }
    words = ("--bundles", bundles)
    with serving(*words, **settings) as (_, one), serving(*words, **settings) as (_, other):
        assert trending(other, "home") == []
        clicks(one, "item-50", 5, placement="home")
        clicks(one, "item-51", 2, placement="home")
        clicks(one, "item-7", 9, placement="home")  # hidden
        clicks(one, "no-such-item", 3, placement="home")
        deadline = time.monotonic() + PATIENCE_S
        while len(found := trending(other, "home")) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert sorted(found) == ["item-50", "item-51"]
        assert trending(other, "default") == []
        # A placement that the bundle does not know counts at its first, as requests for it are answered.
        clicks(one, "item-52", 1, placement="invented")
        while not (found := trending(other, "default")) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert found == trending(other, "unheard-of") == ["item-52"]
