"""The recall of the index on live queries, as a scrape shows it."""

from __future__ import annotations

import re
import time
from pathlib import Path

import httpx

from tests.support.live_service import ids, live_service

SERIES = r'cascada_index_recall_{}\{{bundle_version="tiny-1",k="200"\}} (\S+)'


def scraped(client: httpx.Client, name: str) -> float | None:
    found = re.search(SERIES.format(name), client.get("/metrics").text)
    return float(found[1]) if found else None


def test_live_queries_are_asked_again_exactly(bundles: Path, redis_url: str) -> None:
    with live_service(
        bundles=bundles, redis_url=redis_url, redis_prefix="recall", index_recall_share=1.0
    ) as client:
        assert scraped(client, "count_total") is None, "the warm-up is not live"
        for number in range(5):
            seen = [{"item_id": f"item-{number}", "event": "view"}]
            assert ids(client.post("/v1/recommend", json={"session": seen, "count": 5}))
        deadline = time.monotonic() + 60
        while not scraped(client, "count_total") and time.monotonic() < deadline:
            time.sleep(0.01)
        count = scraped(client, "count_total")
        assert count is not None
        assert 1 <= count <= 5
        assert scraped(client, "sum_total") == count
        assert scraped(client, "stated") == 0.95


def test_without_a_share_nothing_is_asked_again(bundles: Path, redis_url: str) -> None:
    with live_service(
        bundles=bundles, redis_url=redis_url, redis_prefix="no-recall", index_recall_share=0.0
    ) as client:
        assert ids(client.post("/v1/recommend", json={"count": 5}))
        assert scraped(client, "count_total") is None
