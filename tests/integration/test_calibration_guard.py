"""A running service whose users begin to click twice as often: prices follow, in every process."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from models import artifacts
from service.features.keys import Keys
from service.placements import Placement
from tests.support.live_service import live_service
from tests.support.tiny_bundle import reseal, write_tiny_bundle

SECTION = {"slots": [1, 2, 3, 4, 5, 6], "reserve_micros": 100, "currency": "EUR", "per_advertiser": 1}
WATCHED: dict[str, Any] = {
    "placements": {"shop": Placement.model_validate({"sponsored": SECTION})},
    "calibration_interval_seconds": 0.2,
    "calibration_delay_seconds": 0,
    "calibration_clicks": 120,
    "calibration_least_clicks": 20,
    "advertiser_interval_ms": 50,
}
PATIENCE_S = 60.0


def own_bundles(folder: Path, **calibrator: Any) -> Path:
    """A bundle whose items are clicked about one time in five, by this calibrator."""
    bundle = write_tiny_bundle(folder)
    (bundle / artifacts.CALIBRATOR).write_text(json.dumps(calibrator))
    reseal(bundle)
    return folder


class World:
    """Users who click as often as the bundle says of the item, times `factor`."""

    def __init__(self, client: httpx.Client, seed: int, factor: float) -> None:
        self.client = client
        self.chance = random.Random(seed)
        self.factor = factor

    def open_market(self) -> None:
        for number in range(6):
            body = {"daily_budget_micros": 10**12, "currency": "EUR", "pacing": "asap"}
            assert self.client.put(f"/v1/advertisers/a{number}", json=body).is_success
            for row in range(40 + 3 * number, 43 + 3 * number):
                offer = {"bid_micros": 1000 + 37 * row, "currency": "EUR", "advertiser_id": f"a{number}"}
                assert self.client.patch(f"/v1/items/item-{row}", json=offer).is_success

    def visit(self) -> dict[str, Any]:
        """One list, and the clicks on what was sold in it."""
        session = [{"item_id": f"item-{self.chance.randrange(60)}"}]
        body = {"placement": "shop", "count": 8, "session": session}
        answer = dict(self.client.post("/v1/recommend", json=body).json())
        events = [
            {"user_id": "u", "item_id": one["item_id"], "event": "click", "request_id": answer["request_id"]}
            for one in answer["items"]
            if one.get("sponsored") and self.chance.random() < self.factor * one["pctr"]
        ]
        if events:
            assert self.client.post("/v1/events", json={"events": events}).status_code == 202
        return answer

    def until(self, label: str | None, visits: int) -> dict[str, Any]:
        """Visit until answers have this label."""
        seen = set()
        for _ in range(visits):
            answer = self.visit()
            seen.add(answer["auction"].get("calibration"))
            if answer["auction"].get("calibration") == label:
                return answer
        raise AssertionError(f"no answer of {visits} had {label}, only {seen}; {series(self.client)}")


def series(client: httpx.Client) -> dict[str, float]:
    found = {}
    for line in client.get("/metrics").text.splitlines():
        if line.startswith("cascada_calibration"):
            name, _, value = line.rpartition(" ")
            found[name.removeprefix("cascada_calibration_")] = float(value)
    return found


def copc(client: httpx.Client) -> float:
    return series(client)['copc{bound="value",decile="all",placement="shop"}']


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    return f"guard-{request.node.name[-40:]}".replace("_", "-")


def test_when_users_click_twice_as_often_prices_follow_in_every_process(
    tmp_path: Path, redis_url: str, prefix: str
) -> None:
    bundles = own_bundles(tmp_path, kind="platt", slope=0.3, intercept=-1.0)
    settings = {**WATCHED, "bundles": bundles, "redis_url": redis_url, "redis_prefix": prefix}
    with live_service(**settings) as client, live_service(**settings) as other:
        world = World(client, 1, factor=1.0)
        world.open_market()
        answers = [world.visit() for _ in range(50)]
        assert any(one["auction"]["sold"] for one in answers)
        eventually(lambda: copc(client) > 0)
        # As predicted: nothing changes, and nothing is said.
        assert all("calibration" not in one["auction"] for one in answers)
        assert 0.7 < copc(client) < 1.4
        deciles = {name for name in series(client) if name.startswith("clicks{")}
        assert len(deciles) > 3

        world.factor = 2.0
        answer = world.until("refit", 3000)
        assert answer["degraded"] == []
        for _ in range(60):
            world.visit()
        eventually(lambda: 0.75 < copc(client) < 1.3)
        counted = series(client)
        changes = 'changes_total{calibration="refit",placement="shop"}'
        assert counted.get(changes, 0) + series(other).get(changes, 0) >= 1

        # The other process prices with it, too, and what it prices with is about twice the bundle's.
        def travelled() -> bool:
            return ask(other)["auction"].get("calibration") == "refit"

        eventually(travelled)
        promised, priced = 0.0, 0.0
        for row in range(0, 60, 4):
            answer = ask(other, explain=True, session=[{"item_id": f"item-{row}"}])
            own = {one["item_id"]: one["pctr"] for one in answer["items"] if one.get("sponsored")}
            used = {one["item_id"]: one["pctr"] for one in answer["auction"]["competitors"]}
            promised += sum(own.values())
            priced += sum(used[item] for item in own)
        assert 1.5 < priced / promised < 2.7
        assert series(other)['in_use{calibration="refit",placement="shop"}'] == 1

        # The world as it was: the bundle's own calibrator is trusted again, not one more fit.
        world.factor = 1.0
        world.until(None, 3000)


def test_a_calibrator_that_never_held_gives_way_to_the_one_before(
    tmp_path: Path, redis_url: str, prefix: str
) -> None:
    wrong = {"kind": "platt", "slope": 0.3, "intercept": -2.3}
    right = {"kind": "platt", "slope": 0.3, "intercept": -1.0}
    bundles = own_bundles(tmp_path, **wrong, previous=right)
    with live_service(**WATCHED, bundles=bundles, redis_url=redis_url, redis_prefix=prefix) as client:
        # The one before has exp(1.3) times the odds: about two and a half times as many clicks.
        world = World(client, 2, factor=2.5)
        world.open_market()
        answer = world.until("previous", 1500)
        assert answer["degraded"] == []


def test_with_too_few_clicks_for_a_new_fit_the_answer_says_that_its_prices_are_doubtful(
    tmp_path: Path, redis_url: str, prefix: str
) -> None:
    bundles = own_bundles(tmp_path, kind="platt", slope=0.3, intercept=-1.0)
    few = {**WATCHED, "calibration_clicks": 50}  # a new fit would want three times 20
    with live_service(**few, bundles=bundles, redis_url=redis_url, redis_prefix=prefix) as client:
        world = World(client, 3, factor=2.5)
        world.open_market()
        answer = world.until("distrusted", 1500)
        assert "calibration" in answer["degraded"]
        assert answer["auction"]["sold"] > 0


def test_a_stored_calibrator_that_falls_is_refused_and_the_bundle_is_priced_with(
    tmp_path: Path, redis_url: str, prefix: str
) -> None:
    bundles = own_bundles(tmp_path, kind="platt", slope=0.3, intercept=-1.0)
    falling = {"kind": "platt", "slope": -1.0, "intercept": 0.0}
    state = {"placements": {"shop": {"use": "refit", "trusted": True, "since_ms": 0, "refit": falling}}}
    redis = Redis.from_url(redis_url)
    redis.set(Keys(prefix).calibration("tiny-1"), json.dumps(state))
    with live_service(**WATCHED, bundles=bundles, redis_url=redis_url, redis_prefix=prefix) as client:
        world = World(client, 4, factor=1.0)
        world.open_market()
        assert all("calibration" not in world.visit()["auction"] for _ in range(20))
        eventually(lambda: series(client)['in_use{calibration="bundle",placement="shop"}'] == 1)
        assert (
            json.loads(redis.get(Keys(prefix).calibration("tiny-1")) or "")["placements"]["shop"]["use"]
            == "bundle"
        )


def ask(client: httpx.Client, **more: Any) -> dict[str, Any]:
    return dict(client.post("/v1/recommend", json={"placement": "shop", "count": 8, **more}).json())


def eventually(holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if holds():
                return
        except KeyError:
            pass
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
