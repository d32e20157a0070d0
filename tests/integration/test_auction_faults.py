"""Auctions without Redis, without a ranker, in several processes, and in one that is killed."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from redis import Redis

from ranking.calibration import Calibration
from service.auction.market import Market
from service.bundle import Bundle
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import Kind, Request, Selling
from service.engine import Engine
from service.features.accounts import Budget
from service.features.embedded import EmbeddedRedis
from service.features.keys import Keys
from service.features.store import ItemChange
from service.metrics import Metrics
from service.placements import Placement
from service.settings import Settings
from tests.support.live_service import live_service
from tests.support.processes import cascada, serving
from tests.support.tiny_world import NOW_MS

SECTION: dict[str, Any] = {"slots": [1, 2, 4], "reserve_micros": 100, "currency": "EUR", "per_advertiser": 2}
PLACEMENTS = {"shop": Placement.model_validate({"sponsored": SECTION})}
PATIENCE_S = 60.0


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def open_market(client: httpx.Client, budgets: dict[str, int]) -> None:
    """Advertisers with a budget and four ads each."""
    for number, (name, micros) in enumerate(budgets.items()):
        body = {"daily_budget_micros": micros, "currency": "EUR", "pacing": "asap"}
        assert client.put(f"/v1/advertisers/{name}", json=body).is_success
        for row in range(40 + 4 * number, 44 + 4 * number):
            offer = {"bid_micros": 1000 + 37 * row, "currency": "EUR", "advertiser_id": name}
            assert client.patch(f"/v1/items/item-{row}", json=offer).is_success


def test_without_redis_nothing_is_sold_and_the_list_comes_all_the_same(bundles: Path, tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "redis")
    server.start()
    try:
        with live_service(
            bundles=bundles,
            redis_url=server.url,
            placements=PLACEMENTS,
        ) as client:
            open_market(client, {"a": 1_000_000})
            before = client.post("/v1/recommend", json={"placement": "shop"}).json()
            assert before["auction"]["sold"] == 2
            server.stop()
            answer = client.post("/v1/recommend", json={"placement": "shop"}).json()
            assert answer["auction"]["reason"] == "store"
            assert answer["degraded"] == ["sponsored"]
            assert len(answer["items"]) == 20
            assert not any(item.get("sponsored") for item in answer["items"])
            plain = client.post("/v1/recommend", json={}).json()
            assert plain["degraded"] == []
            server.start()
            open_market(client, {"a": 1_000_000})
            again = client.post("/v1/recommend", json={"placement": "shop"}).json()
            assert (again["auction"]["sold"], again["degraded"]) == (2, [])
    finally:
        server.stop()


def test_with_no_time_left_nothing_is_sold(bundles: Path, redis_url: str) -> None:
    with live_service(
        bundles=bundles, redis_url=redis_url, redis_prefix="hasty", placements=PLACEMENTS
    ) as client:
        open_market(client, {"a": 1_000_000})
        body = {"placement": "shop", "count": 200}
        deadlines = [1, 2, 3, 4, 6, 8, 12, 16] * 4
        calls = [client.post("/v1/recommend", json={**body, "deadline_ms": each}) for each in deadlines]
        # Where the deadline passed before its turn came, a call is refused.
        assert {call.status_code for call in calls} <= {200, 503}
        late = [one for one in (call.json() for call in calls if call.is_success) if one["auction"]["reason"]]
        assert late or not all(call.is_success for call in calls), "no call was late"
        assert {one["auction"]["reason"] for one in late} <= {"deadline", "ranker"}
        for one in late:
            assert "sponsored" in one["degraded"]
            assert not any(item.get("sponsored") for item in one["items"])


async def test_without_a_calibrated_probability_there_is_no_auction(bundles: Path, redis_url: str) -> None:
    (folder,) = [path for path in bundles.iterdir() if path.is_dir()]
    broken = replace(Bundle.open(folder), calibrator=Calibration(_Failing()))  # type: ignore[arg-type]
    changed = ItemChange("1", "item-40", _offer(broken))  # type: ignore[arg-type]
    engine = Engine.build(broken, NullObserver()).with_changes([changed], NOW_MS)
    settings = Settings(
        redis_prefix="rankless", redis_url=SecretStr(redis_url), redis_write_timeout_ms=10_000
    )
    market = Market.of(settings, Metrics(), redis_url)
    await market.accounts.put("a", Budget(1_000_000, "EUR", "asap"))
    await market.follower.catch_up()
    query = engine.hydrate(Request(kind=Kind.RECOMMEND), None, Moment("r", NOW_MS))
    batches: dict[str, Any] = {}
    outcome = engine.run(query, batches.__setitem__)
    assert "pctr" in outcome.degraded
    selling = Selling((1, 2), 100, "EUR")
    auction = await market.auctioneer.sell(engine, selling, query, outcome, batches, {})
    assert auction.reason == "ranker"
    assert auction.outcome is outcome
    await market.stop()


class _Failing:
    kind = "platt"

    def __call__(self, logits: Any) -> Any:
        raise RuntimeError("no calibrator today")


def _offer(bundle: Bundle) -> dict[str, Any]:
    return {
        **json.loads(bundle.item_records[40]),
        "bid_micros": 500,
        "currency": "EUR",
        "advertiser_id": "a",
    }


BUDGETS = {"large": 400_000, "small": 20_000, "tiny": 3_000}


@pytest.fixture
def words(bundles: Path, redis_url: str) -> tuple[list[Any], dict[str, str]]:
    variables = {
        "CASCADA_PLACEMENTS": json.dumps({"shop": {"sponsored": SECTION}}),
        "CASCADA_REDIS_PREFIX": f"killed{random.randrange(10**9)}",
        "CASCADA_SPONSORED_HOLD_SECONDS": "3",
        "CASCADA_ADVERTISER_INTERVAL_MS": "50",
        # Nobody reads the process's log: a full pipe would stop it.
        "CASCADA_ACCESS_LOG": "false",
    }
    return ["--bundles", bundles, "--redis-url", redis_url], variables


def test_clients_of_several_processes_one_of_them_killed_never_pass_a_budget(
    words: tuple[list[Any], dict[str, str]], redis_url: str
) -> None:
    arguments, variables = words
    charged = 0
    lock = threading.Lock()
    with ExitStack() as stack:
        started = [stack.enter_context(serving(*arguments, **variables)) for _ in range(2)]
        clients = [stack.enter_context(httpx.Client(base_url=url, timeout=30)) for _, url in started]
        watcher = clients[0]
        open_market(watcher, BUDGETS)
        halfway = threading.Event()

        def account(name: str) -> dict[str, Any]:
            return dict(watcher.get(f"/v1/advertisers/{name}").json())

        def work(seed: int) -> None:
            nonlocal charged
            chance = random.Random(seed)
            for number in range(24):
                if number == 8:
                    halfway.set()
                try:
                    client = chance.choice(clients)
                    body = {"placement": "shop", "count": 5, "session": [{"item_id": f"item-{seed}"}]}
                    answer = client.post("/v1/recommend", json=body).json()
                    request = answer["request_id"]
                    sold = [item["item_id"] for item in answer["items"] if item.get("sponsored")]
                    events = [
                        {
                            "user_id": "u",
                            "item_id": item,
                            "event": "click",
                            "request_id": request,
                        }
                        for item in sold
                        if chance.random() < 0.6
                    ]
                    if events:
                        # Every click comes twice, over two processes.
                        for again in (client, chance.choice(clients)):
                            done = again.post("/v1/events", json={"events": events}).json()
                            with lock:
                                charged += done.get("ad_clicks", {}).get("charged", 0)
                except (httpx.TransportError, KeyError):
                    assert halfway.is_set(), "a call failed before any process was killed"

        with ThreadPoolExecutor(6) as pool:
            working = [pool.submit(work, seed) for seed in range(6)]
            halfway.wait(PATIENCE_S)
            victim, _ = started[1]
            victim.kill()
            while not all(one.done() for one in working):
                for name, budget in BUDGETS.items():
                    now = account(name)
                    assert now["spent_micros"] + now["reserved_micros"] <= budget
                time.sleep(0.02)
            for one in working:
                one.result()
        seeds = count(6)

        def tiny_spent() -> bool:
            if account("tiny")["spent_micros"] == 0:
                work(next(seeds))
            return bool(account("tiny")["spent_micros"] > 0)

        # It can pay one ad at a time, and whether anybody clicks is chance: ask until somebody has.
        eventually(tiny_spent)
        accounts = {name: account(name) for name in BUDGETS}
        assert all(now["spent_micros"] <= BUDGETS[name] for name, now in accounts.items())
        # A click that was charged by the process that was killed may not have been told.
        assert sum(now["clicks"] for now in accounts.values()) >= charged > 0
        # What nobody clicked, the killed process's part included, is free again after its time.
        eventually(lambda: all(account(name)["reserved_micros"] == 0 for name in BUDGETS))
    books = cascada("ledger", "--redis-url", redis_url, **variables)
    assert books.returncode == 0, books.stderr
    assert "3 accounts" in books.stdout
    assert "add up" in books.stdout


def test_the_ledger_says_what_is_wrong(words: tuple[list[Any], dict[str, str]], redis_url: str) -> None:
    _, variables = words
    keys = Keys(variables["CASCADA_REDIS_PREFIX"])
    redis = Redis.from_url(redis_url)
    redis.sadd(keys.advertisers, "bent")
    redis.hset(
        keys.account("bent"),
        mapping={"daily": 5, "currency": "EUR", "pacing": "even", "day": 20_240_101, "spent": 7, "total": 7},
    )
    books = cascada("ledger", "--redis-url", redis_url, **variables)
    assert books.returncode == 2
    assert "bent: total is 7 micros, the charges sum to 0" in books.stderr
    missing = cascada("ledger", "--redis-url", redis_url, "--advertiser", "nobody", **variables)
    assert (missing.returncode, "'nobody'" in missing.stderr) == (1, True)
