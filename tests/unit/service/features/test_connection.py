"""Calls that go without a client of the pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from service.features.connection import RedisConnection
from service.features.scripts import Script
from service.features.store import StoreUnavailable
from tests.support.live_redis import Proxy, redis_url  # noqa: F401

ECHO = Script("return {KEYS[1], ARGV[1]}")
POOLED = "?max_connections=3"
"""What only a pool understands, so that no call goes without it."""


@pytest_asyncio.fixture(loop_scope="function", params=["", POOLED], ids=["channel", "pool"])
async def connection(redis_url: str, request: pytest.FixtureRequest) -> AsyncIterator[RedisConnection]:  # noqa: F811
    connection = RedisConnection(redis_url + request.param, 4, 60.0, 60.0)
    yield connection
    await connection.close()


async def test_scripts_are_answered_in_order_and_sent_again_if_forgotten(
    connection: RedisConnection,
) -> None:
    calls = [([f"key {n}"], [n]) for n in range(100)]
    wanted = [[f"key {n}".encode(), str(n).encode()] for n in range(100)]
    await connection.client.script_flush()
    assert await connection.scripts(ECHO, calls) == wanted
    assert await connection.scripts(ECHO, calls) == wanted


async def test_a_refused_command_names_the_reason(connection: RedisConnection) -> None:
    await connection.commands([("SET", "connection-text", "no list")])
    with pytest.raises(StoreUnavailable, match="wrong kind of value"):
        await connection.commands([("PING",), ("LPUSH", "connection-text", "x")])
    with pytest.raises(StoreUnavailable, match="wrong kind of value"):
        await connection.wait(("XREAD", "BLOCK", 10, "STREAMS", "connection-text", "0"), 0.01)
    assert await connection.commands([("GET", "connection-text")]) == [b"no list"]


async def test_who_waits_for_news_keeps_nobody(connection: RedisConnection) -> None:
    await connection.client.delete("connection-news")
    waiting = asyncio.create_task(
        connection.wait(("XREAD", "BLOCK", 30_000, "STREAMS", "connection-news", "0"), 30.0)
    )
    for n in range(20):
        assert await connection.commands([("ECHO", n)]) == [str(n).encode()]
    assert not waiting.done()
    await connection.commands([("XADD", "connection-news", "1-0", "field", "news")])
    assert b"news" in repr(await asyncio.wait_for(waiting, 60)).encode()


async def test_a_connection_that_has_gone_silent_is_replaced(redis_url: str, tmp_path: Path) -> None:  # noqa: F811
    async with Proxy(tmp_path, redis_url).running() as proxy:
        connection = RedisConnection(proxy.url, 1, 1.0, 1.0)
        assert await connection.commands([("ECHO", "before")]) == [b"before"]
        proxy.holding = True
        with pytest.raises(StoreUnavailable, match="within 1000 ms"):
            await connection.commands([("ECHO", "lost")])
        proxy.holding = False
        assert await connection.commands([("ECHO", "after")]) == [b"after"]
        await connection.close()


async def test_calls_of_many_tasks_share_one_connection(redis_url: str) -> None:  # noqa: F811
    async with Redis.from_url(redis_url) as client:
        before = (await client.info("stats"))["total_connections_received"]
        connection = RedisConnection(redis_url, 4, 60.0, 60.0)
        answers = await asyncio.gather(*(connection.commands([("ECHO", n)]) for n in range(50)))
        assert answers == [[str(n).encode()] for n in range(50)]
        assert (await client.info("stats"))["total_connections_received"] == before + 1
        await connection.close()
