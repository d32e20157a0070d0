"""Traces in a real Redis: bounded in number and age, and gone with their user."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from service.cascade.query import UserId
from service.features.keys import Keys
from service.features.redis import RedisLimits, RedisStore
from service.features.traces import PackedTrace
from tests.support.live_redis import redis_prefix, redis_url  # noqa: F401

KEEP = 5
TTL_S = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture(loop_scope="function")
async def store(redis_url: str, redis_prefix: str, clock: Clock) -> AsyncIterator[RedisStore]:  # noqa: F811
    limits = RedisLimits(traces=KEEP, trace_ttl_s=TTL_S, write_timeout_s=10.0, read_timeout_s=10.0)
    store = RedisStore(redis_url, Keys(redis_prefix), limits, clock)
    yield store
    await store.close()


@pytest_asyncio.fixture(loop_scope="function")
async def client(redis_url: str) -> AsyncIterator[Redis]:  # noqa: F811
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


def packed(name: str, user: str | None = None) -> PackedTrace:
    return PackedTrace(name, None if user is None else UserId(user), b"\x00bytes of " + name.encode())


async def names(client: Redis, prefix: str) -> set[str]:
    return {name.decode() async for name in client.scan_iter(f"{prefix}:*")}


async def test_what_was_added_is_found_whole(store: RedisStore) -> None:
    await store.traces.add([packed("a", "ann"), packed("b:/=+")])
    assert await store.traces.find("a") == packed("a").content
    assert await store.traces.find("b:/=+") == packed("b:/=+").content
    assert await store.traces.find("c") is None
    assert await store.traces.find("") is None


async def test_only_the_newest_are_kept_and_nothing_of_the_others(
    store: RedisStore,
    client: Redis,
    redis_prefix: str,  # noqa: F811
    clock: Clock,
) -> None:
    for number in range(40):
        clock.now_s += 1
        await store.traces.add([packed(f"r{number}a", "ann"), packed(f"r{number}b")])
    left = {f"r{number}{part}" for number in (38, 39) for part in "ab"} | {"r37b"}
    keys = Keys(redis_prefix)
    assert await names(client, redis_prefix) == {
        keys.trace_order,
        keys.trace_users,
        *(keys.trace(name) for name in left),
    }
    assert await client.hlen(keys.trace_users) == await client.zcard(keys.trace_order) == KEEP
    for name in (await client.keys(f"{redis_prefix}:*")) or ["none"]:
        assert 0 < await client.pttl(name) <= TTL_S * 1000, name


async def test_a_repeated_id_has_its_newest_trace_and_counts_once(store: RedisStore) -> None:
    await store.traces.add([packed(f"r{n}") for n in range(KEEP)])
    await store.traces.add([PackedTrace("r0", None, b"newer")])
    assert await store.traces.find("r0") == b"newer"
    assert await store.traces.find("r1") is not None


async def test_what_is_too_old_goes_with_the_next_one(store: RedisStore, clock: Clock) -> None:
    await store.traces.add([packed("old")])
    clock.now_s += TTL_S + 1
    await store.traces.add([packed("new")])
    assert await store.traces.find("old") is None
    assert await store.traces.find("new") is not None


async def test_a_user_who_is_erased_leaves_no_trace(
    store: RedisStore,
    client: Redis,
    redis_prefix: str,  # noqa: F811
) -> None:
    await store.traces.add([packed("a", "ann"), packed("b", "bob"), packed("c", "ann"), packed("d")])
    assert await store.delete_user(UserId("ann"))
    assert await store.traces.find("a") is None
    assert await store.traces.find("c") is None
    assert await store.traces.find("b") is not None
    assert await store.traces.find("d") is not None
    keys = Keys(redis_prefix)
    assert await client.zrange(keys.trace_order, 0, -1) == [b"b", b"d"]
    assert not await store.delete_user(UserId("-"))
    assert await store.traces.find("d") is not None


async def test_where_none_are_wanted_none_are_kept(
    redis_url: str,  # noqa: F811
    redis_prefix: str,  # noqa: F811
    client: Redis,
) -> None:
    store = RedisStore(redis_url, Keys(redis_prefix), RedisLimits(traces=0))
    await store.traces.add([packed("a")])
    await store.close()
    assert await names(client, redis_prefix) == set()
