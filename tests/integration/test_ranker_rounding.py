"""How far the ranker is from single precision, as a scrape of a service with a trained bundle shows it."""

from __future__ import annotations

import re
import time

import httpx
import pytest

from tests.support.live_service import ids, live_service
from tests.support.trained import TrainedWorld, train_tiny


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> TrainedWorld:
    return train_tiny(tmp_path_factory.getbasetemp() / "trained")


def scraped(client: httpx.Client, world: TrainedWorld, name: str) -> float | None:
    labels = rf'bundle_version="{world.bundle.name}",cascade="recommend"'
    found = re.search(rf"cascada_ranker_rounding_{name}\{{{labels}\}} (\S+)", client.get("/metrics").text)
    return float(found[1]) if found else None


def ask(client: httpx.Client, world: TrainedWorld, item: int) -> None:
    seen = [{"item_id": world.dataset.item_ids[item], "event": "click"}]
    assert ids(client.post("/v1/recommend", json={"session": seen, "count": 5}))


def test_live_answers_are_ranked_again(world: TrainedWorld, redis_url: str) -> None:
    with live_service(
        bundles=world.bundle.parent, redis_url=redis_url, redis_prefix="rounding", ranker_rounding_share=1.0
    ) as client:
        assert scraped(client, world, "count") is None, "the warm-up is not live"
        for item in range(5):
            ask(client, world, item)
        deadline = time.monotonic() + 60
        while not scraped(client, world, "count") and time.monotonic() < deadline:
            time.sleep(0.01)
        assert 1 <= (scraped(client, world, "count") or 0) <= 5
        assert 0.0 < (scraped(client, world, "sum") or 0.0) < 1.0


def test_without_a_share_nothing_is_ranked_again(world: TrainedWorld, redis_url: str) -> None:
    with live_service(
        bundles=world.bundle.parent,
        redis_url=redis_url,
        redis_prefix="no-rounding",
        ranker_rounding_share=0.0,
    ) as client:
        ask(client, world, 0)
        assert scraped(client, world, "count") is None
