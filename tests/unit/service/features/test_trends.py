from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from service.cascade.query import ItemId, UserId
from service.features.keys import Keys
from service.features.redis import RedisLimits, RedisStore
from service.features.store import Event
from tests.support.live_redis import redis_prefix, redis_url  # noqa: F401

HOUR_MS = 3_600_000
NOW_MS = 1_700_000_000_000
LIMITS = RedisLimits(read_timeout_s=60.0, write_timeout_s=60.0, trend_half_life_s=3600, trend_items=4)


@pytest_asyncio.fixture(loop_scope="function")
async def store(redis_url: str, redis_prefix: str) -> AsyncIterator[RedisStore]:  # noqa: F811
    store = RedisStore(redis_url, Keys(redis_prefix), LIMITS)
    yield store
    await store.close()


@pytest_asyncio.fixture(loop_scope="function")
async def client(redis_url: str) -> AsyncIterator[Redis]:  # noqa: F811
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


def event(
    item: str, hours_ago: float = 0.0, placement: str | None = "home", event_id: str | None = None
) -> Event:
    at = int(NOW_MS - hours_ago * HOUR_MS)
    return Event(UserId("ann"), ItemId(item), "click", at, event_id, placement=placement)


async def counts(store: RedisStore, placement: str = "home", limit: int = 10) -> dict[str, float]:
    trend = (await store.trends([placement], limit, NOW_MS))[placement]
    return dict(zip(trend.item_ids, trend.counts, strict=True))


async def test_an_events_weight_halves_with_its_age(store: RedisStore) -> None:
    await store.append([event("new"), event("hour", 1), event("old", 10), event("hour", 2), event("new", 3)])
    found = await counts(store)
    assert list(found) == ["new", "hour", "old"]
    assert found == pytest.approx({"new": 1.125, "hour": 0.75, "old": 2.0**-10}, rel=1e-6)


async def test_what_is_recent_passes_what_was_more(store: RedisStore) -> None:
    await store.append([event("then", 6) for _ in range(40)])
    await store.append([event("now")])
    assert list(await counts(store)) == ["now", "then"]


async def test_each_placement_has_its_own(store: RedisStore) -> None:
    await store.append([event("a"), event("b", placement="cart"), event("c", placement=None)])
    assert list(await counts(store)) == ["a"]
    assert list(await counts(store, "cart")) == ["b"]
    assert await counts(store, "nowhere") == {}


async def test_a_repeated_event_counts_once(store: RedisStore) -> None:
    for _ in range(3):
        await store.append([event("a", event_id="e1")])
    assert await counts(store) == pytest.approx({"a": 1.0})


async def test_a_trend_is_bounded_and_expires(store: RedisStore, client: Redis, redis_prefix: str) -> None:  # noqa: F811
    await store.append([event(f"i{n}", n) for n in range(9)])
    assert list(await counts(store)) == ["i0", "i1", "i2", "i3"]
    key = Keys(redis_prefix).trend("home", 3600)
    assert await client.zcard(key) == LIMITS.trend_items
    assert 0 < await client.ttl(key) <= 20 * 3600
    assert list(await counts(store, limit=2)) == ["i0", "i1"]


async def test_decades_of_events_and_clocks_ahead_stay_finite(store: RedisStore) -> None:
    await store.append([event("old", 24 * 365 * 30), event("ahead", -1000)])
    found = await counts(store)
    assert found["old"] == 0.0
    assert 1.0 < found["ahead"] < 1e20


async def test_another_half_life_starts_another_trend(
    store: RedisStore,
    redis_url: str,  # noqa: F811
    redis_prefix: str,  # noqa: F811
) -> None:
    await store.append([event("a")])
    other = RedisStore(redis_url, Keys(redis_prefix), replace(LIMITS, trend_half_life_s=60))
    assert await counts(other) == {}
    await other.close()


async def test_events_are_accepted_where_the_trend_cannot_be_written(
    store: RedisStore,
    client: Redis,
    redis_prefix: str,  # noqa: F811
) -> None:
    await client.set(Keys(redis_prefix).trend("home", 3600), "no sorted set")
    assert list(await store.append([event("a")])) == [True]
    assert list((await store.fetch(UserId("ann"))).item_ids) == ["a"]
