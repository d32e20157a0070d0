from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
import uvloop
from redis.asyncio import Redis

from service.features.channel import Channel
from service.features.embedded import EmbeddedRedis
from service.features.store import StoreUnavailable
from tests.support.live_redis import Proxy, redis_url  # noqa: F401


@pytest_asyncio.fixture(loop_scope="function")
async def client(redis_url: str) -> AsyncIterator[Redis]:  # noqa: F811
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest_asyncio.fixture(loop_scope="function")
async def proxy(redis_url: str, tmp_path: Path) -> AsyncIterator[Proxy]:  # noqa: F811
    async with Proxy(tmp_path, redis_url).running() as proxy:
        yield proxy


async def connected(client: Redis) -> int:
    """How many ever connected: those of other tests may still be on their way out."""
    return int((await client.info("stats"))["total_connections_received"])


async def test_reads_of_many_at_once_come_back_to_whoever_asked(redis_url: str, client: Redis) -> None:  # noqa: F811
    await client.mset({f"channel-{n}": n for n in range(300)})
    before = await connected(client)
    channel = Channel(redis_url, 60.0)
    answers = await asyncio.gather(
        *(channel.read([("GET", f"channel-{n}"), ("GET", "channel-nobody")]) for n in range(300))
    )
    assert answers == [[str(n).encode(), None] for n in range(300)]
    assert await connected(client) == before + 1
    await channel.close()


async def test_what_is_asked_in_one_turn_of_the_loop_goes_out_together(redis_url: str, client: Redis) -> None:  # noqa: F811
    channel = Channel(redis_url, 60.0)
    await channel.read([("PING",)])
    before = (await client.info("stats"))["total_reads_processed"]
    answers = await asyncio.gather(*(channel.read([("ECHO", n)]) for n in range(50)))
    assert answers == [[str(n).encode()] for n in range(50)]
    assert (await client.info("stats"))["total_reads_processed"] - before < 10
    await channel.close()


@pytest.mark.parametrize("turns", [1, 3], ids=["before it has sent", "after it has sent"])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_loop_that_is_busy_does_not_blame_redis(
    redis_url: str,  # noqa: F811
    loop: Callable[[], asyncio.AbstractEventLoop],
    turns: int,
) -> None:
    async def busy() -> list[object]:
        channel = Channel(redis_url, 0.5)
        try:
            await channel.replies([("PING",)], 60.0)
            asked = asyncio.create_task(channel.read([("ECHO", "in time")]))
            for _ in range(turns):
                await asyncio.sleep(0)
            time.sleep(0.8)
            return await asked
        finally:
            await channel.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(busy()) == [b"in time"]


async def test_a_late_reply_is_thrown_away(proxy: Proxy, client: Redis) -> None:
    channel = Channel(proxy.url, 60.0, stuck_s=60.0)
    await channel.read([("PING",)])
    before = await connected(client)
    proxy.holding = True
    with pytest.raises(StoreUnavailable, match="within 50 ms"):
        await channel.read([("ECHO", "late")], 0.05)
    proxy.holding = False
    assert await channel.read([("ECHO", "next")]) == [b"next"]
    assert await connected(client) == before, "on the connection on which the late one came"
    await channel.close()


async def test_a_call_with_less_time_than_others_ends_sooner(proxy: Proxy) -> None:
    channel = Channel(proxy.url, 60.0)
    await channel.read([("PING",)])
    proxy.holding = True
    for little_s in (0.02, 0.0, -1.0):
        with pytest.raises(StoreUnavailable, match=f"within {little_s * 1000:.0f} ms"):
            await channel.read([("ECHO", "late")], little_s)
    proxy.holding = False
    assert await channel.read([("ECHO", "whenever")], 61.0) == [b"whenever"]
    await channel.close()


async def test_a_command_that_is_refused_names_the_reason(redis_url: str, client: Redis) -> None:  # noqa: F811
    await client.set("channel-text", "no list")
    channel = Channel(redis_url, 60.0)
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        await channel.read([("PING",), ("LRANGE", "channel-text", 0, -1)])
    assert await channel.read([("PING",)]) == [b"PONG"]
    await channel.close()


async def test_a_password_and_a_database_are_used() -> None:
    server = EmbeddedRedis()
    await asyncio.to_thread(server.start)
    try:
        async with Redis.from_url(server.url) as admin:
            await admin.config_set("requirepass", "secret")
        path = server.url.removeprefix("unix://")
        async with Redis.from_url(f"unix://:secret@{path}?db=3") as other:
            await other.set("where", "three")
        right = Channel(f"unix://:secret@{path}?db=3", 60.0)
        assert await right.read([("GET", "where")]) == [b"three"]
        await right.close()
        for url, reason in ((server.url, "NOAUTH"), (f"unix://:wrong@{path}", "WRONGPASS")):
            wrong = Channel(url, 60.0)
            with pytest.raises(StoreUnavailable, match=reason) as refused:
                await wrong.read([("GET", "where")])
            assert "wrong@" not in str(refused.value)
            await wrong.close()
    finally:
        await asyncio.to_thread(server.stop)


def test_only_plain_urls_are_taken() -> None:
    assert Channel.knows("redis://user:word@host:6380/2")
    assert Channel.knows("unix:///tmp/redis.sock")
    assert not Channel.knows("rediss://host")
    assert not Channel.knows("redis://host?socket_timeout=3")


async def test_a_call_in_progress_at_the_end_opens_nothing_again(redis_url: str, client: Redis) -> None:  # noqa: F811
    channel = Channel(redis_url, 60.0)
    await channel.read([("PING",)])
    before = await connected(client)
    asked = asyncio.create_task(channel.read([("BLPOP", "channel-nothing", 60)]))
    await asyncio.sleep(0)
    await channel.close()
    with pytest.raises(StoreUnavailable, match="closed here"):
        await asked
    assert await connected(client) == before
