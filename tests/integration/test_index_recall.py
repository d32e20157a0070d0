"""The recall of the index on live queries, as a scrape shows it."""

from __future__ import annotations

import re
import time
from pathlib import Path

import httpx

from tests.support.live_service import ids, live_service

SERIES = r'cascada_index_recall_{}\{{bundle_version="tiny-1",k="200"\}} (\S+)'


def scraped(client: httpx.Client, *names: str) -> list[float | None]:
    """Values of one moment, None where there is none yet."""
    text = client.get("/metrics").text
    return [float(found[1]) if (found := re.search(SERIES.format(name), text)) else None for name in names]


def test_live_queries_are_asked_again_exactly(bundles: Path, redis_url: str) -> None:
    with live_service(
        bundles=bundles, redis_url=redis_url, redis_prefix="recall", index_recall_share=1.0
    ) as client:
        assert scraped(client, "count_total") == [None], "the warm-up is not live"
        for number in range(5):
            seen = [{"item_id": f"item-{number}", "event": "view"}]
            assert ids(client.post("/v1/recommend", json={"session": seen, "count": 5}))
        deadline = time.monotonic() + 60
        while scraped(client, "count_total") == [None] and time.monotonic() < deadline:
            time.sleep(0.01)
        count, total, stated = scraped(client, "count_total", "sum_total", "stated")
        assert count is not None
        assert 1 <= count <= 5
        assert total == count
        assert stated == 0.95


def test_without_a_share_nothing_is_asked_again(bundles: Path, redis_url: str) -> None:
    with live_service(
        bundles=bundles, redis_url=redis_url, redis_prefix="no-recall", index_recall_share=0.0
    ) as client:
        assert ids(client.post("/v1/recommend", json={"count": 5}))
        assert scraped(client, "count_total") == [None]
