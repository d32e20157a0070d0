"""However many answers leave a trace, what is kept of them in Redis stays bounded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from redis import Redis

from service.explain.journal import is_chosen
from tests.support.live_service import live_service

CALLS, KEEP = 600, 25
PREFIX = "test_traces_under_load"


def counted(client: httpx.Client, result: str) -> float:
    name = f'cascada_traces_total{{result="{result}"}} '
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


def test_traces_stay_bounded_while_everybody_asks(bundles: Path, redis_url: str) -> None:
    with live_service(
        bundles=bundles, redis_url=redis_url, redis_prefix=PREFIX, trace_share=1.0, trace_limit=KEEP
    ) as client:

        def ask(number: int) -> str:
            got = client.post("/v1/recommend", json={"user_id": f"u{number % 40}", "count": 20})
            assert got.status_code == 200, got.text
            return str(got.json()["request_id"])

        with ThreadPoolExecutor(4) as pool:
            requests = list(pool.map(ask, range(CALLS)))
        # The call waits for what is under way, and the newest answer is there.
        params = {"request_id": ask(0), "item_id": "item-1"}
        assert client.get("/v1/explain", params=params).status_code == 200
        gone = {"request_id": requests[0], "item_id": "item-1"}
        assert client.get("/v1/explain", params=gone).status_code == 404
        written, dropped = counted(client, "written"), counted(client, "dropped")

    assert written + dropped == CALLS + 1
    assert written > KEEP
    with Redis.from_url(redis_url) as redis:
        names = list(redis.scan_iter(f"{PREFIX}:1:{{traces}}:*"))
        assert len(names) == KEEP + 2
        assert all(redis.pttl(name) > 0 for name in names)
        assert sum(redis.memory_usage(name) for name in names) < KEEP * 30_000


def test_the_share_is_the_same_in_every_process_and_as_large_as_it_says() -> None:
    chosen = [is_chosen(f"request {n}", 0.2) for n in range(5000)]
    assert 0.17 < sum(chosen) / len(chosen) < 0.23
    assert chosen == [is_chosen(f"request {n}", 0.2) for n in range(5000)]
    assert not any(is_chosen(f"request {n}", 0.0) for n in range(100))
    assert all(is_chosen(f"request {n}", 1.0) for n in range(100))
    assert all(is_chosen(f"request {n}", 0.3) for n in range(5000) if chosen[n])


def test_a_service_that_keeps_none_says_so(bundles: Path, redis_url: str) -> None:
    with live_service(
        bundles=bundles, redis_url=redis_url, redis_prefix=f"{PREFIX}0", trace_limit=0, trace_share=1.0
    ) as client:
        body = client.post("/v1/recommend", json={"explain": True, "count": 3}).json()
        assert body["items"][0]["explain"]["places"]
        got = client.get("/v1/explain", params={"request_id": body["request_id"], "item_id": "item-1"})
        assert got.status_code == 404
        assert "keeps no traces" in got.json()["detail"]
    with Redis.from_url(redis_url) as redis:
        assert list(redis.scan_iter(f"{PREFIX}0:1:{{traces}}:*")) == []
