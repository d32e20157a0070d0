from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from service.cascade.query import ItemId, UserId
from service.features.embedded import EmbeddedRedis
from service.features.keys import Keys
from service.features.redis import RedisLimits, RedisStore
from service.features.store import StoreUnavailable
from service.features.streams import Impression
from tests.contracts.feature_store import ANN, BOB, HISTORY, PREFERENCES, FeatureStoreContract, event, wish
from tests.support.live_redis import Proxy, redis_prefix, redis_url  # noqa: F401

LIMITS = RedisLimits(
    history=HISTORY,
    preferences=PREFERENCES,
    exposures=2,
    event_log=1000,
    impression_log=1000,
    read_timeout_s=60.0,
    write_timeout_s=60.0,
)


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


@pytest_asyncio.fixture(loop_scope="function")
async def proxy(redis_url: str, tmp_path: Path) -> AsyncIterator[Proxy]:  # noqa: F811
    async with Proxy(tmp_path, redis_url).running() as proxy:
        yield proxy


@pytest.fixture
def keys(redis_prefix: str) -> Keys:  # noqa: F811
    return Keys(redis_prefix)


def impression(user: UserId | None, request: str, *items: str) -> Impression:
    return Impression(request, user, "recommend", "default", "b1", 5, [ItemId(item) for item in items])


class TestRedisStore(FeatureStoreContract):
    pass


async def test_a_user_is_read_in_one_round_trip(proxy: Proxy, keys: Keys) -> None:
    store = RedisStore(proxy.url, keys, LIMITS)
    await store.append([event("ann", f"i{n}", n) for n in range(HISTORY)])
    await store.put_user(ANN, {"age": 30})
    await store.prefer(ANN, [], wish("x", 1, "i1"))
    before = proxy.requests
    record = await store.fetch(ANN)
    assert (len(record.item_ids), len(record.attributes), len(record.preferences)) == (HISTORY, 1, 1)
    assert proxy.requests == before + 1
    await store.close()


async def test_one_event_id_sent_by_many_at_once_is_stored_once(store: RedisStore) -> None:
    answers = await asyncio.gather(*(store.append([event("ann", "i", 1, "same")]) for _ in range(30)))
    assert sum(sum(answer) for answer in answers) == 1
    assert len((await store.fetch(ANN)).item_ids) == 1


async def test_ten_thousand_events_in_one_call(store: RedisStore) -> None:
    events = [event(f"u{n % 700}", "i", n, f"e{n}") for n in range(10_000)]
    assert all(await store.append(events))
    assert not any(await store.append(events))


@pytest.mark.parametrize("broken", ["profile", "history", "event_ids"])
async def test_a_wrong_type_under_a_key_is_an_unavailable_store(
    store: RedisStore, client: Redis, keys: Keys, broken: str
) -> None:
    await client.hset(getattr(keys, broken)(ANN), "a", "b")
    with pytest.raises(StoreUnavailable):
        await (store.fetch(ANN) if broken == "profile" else store.append([event("ann", "i", 1, "e1")]))
    assert not (await store.fetch(BOB)).known


@pytest.mark.parametrize("line", [b"", b"garbage", b"1\x1fclick", b"x\x1fclick\x1fi", b"\xff\xfe\x1f\x1f"])
async def test_a_history_that_cannot_be_read_is_an_unavailable_store(
    store: RedisStore, client: Redis, keys: Keys, line: bytes
) -> None:
    await client.lpush(keys.history(ANN), line)
    with pytest.raises(StoreUnavailable):
        await store.fetch(ANN)


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"3", b"\xff"])
async def test_a_profile_that_cannot_be_read_is_an_unavailable_store(
    store: RedisStore, client: Redis, keys: Keys, text: bytes
) -> None:
    await client.set(keys.profile(ANN), text)
    with pytest.raises(StoreUnavailable):
        await store.fetch(ANN)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[1]",
        b"{}",
        b'{"kind":"love","at":1,"anchors":[]}',
        b'{"kind":"pin","at":1,"anchors":[1]}',
    ],
)
async def test_a_preference_that_cannot_be_read_is_an_unavailable_store(
    store: RedisStore, client: Redis, keys: Keys, text: bytes
) -> None:
    await client.hset(keys.interests(ANN), "x", text)
    with pytest.raises(StoreUnavailable):
        await store.fetch(ANN)


async def test_preferences_set_at_once_from_many_places_stay_within_their_number(store: RedisStore) -> None:
    answers = await asyncio.gather(*(store.prefer(ANN, [], wish(f"x{n}", n)) for n in range(20)))
    assert sum(answers) == PREFERENCES
    assert len((await store.fetch(ANN)).preferences) == PREFERENCES


async def test_no_redis_is_said_at_once_and_forgiven_when_it_comes(tmp_path: Path) -> None:
    server = EmbeddedRedis()
    store = RedisStore(server.url, limits=LIMITS)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await store.fetch(ANN)
    assert time.monotonic() - started < LIMITS.read_timeout_s
    server.start()
    try:
        assert list(await store.append([event("ann", "i", 1)])) == [True]
    finally:
        server.stop()
    with pytest.raises(StoreUnavailable):
        await store.fetch(ANN)
    await store.close()


async def test_a_restarted_redis_is_used_again_without_a_failed_call() -> None:
    server = EmbeddedRedis()
    server.start()
    try:
        store = RedisStore(server.url, limits=LIMITS)
        await store.append([event("ann", "i", 1)])
        assert server._process is not None
        server._process.kill()
        server._process.wait()
        server.start()
        assert list(await store.append([event("ann", "i", 1)])) == [True]
        assert (await store.fetch(ANN)).known
        await store.close()
    finally:
        server.stop()


async def test_a_forgotten_script_is_sent_again(store: RedisStore, client: Redis) -> None:
    await store.append([event("ann", "a", 1)])
    await client.script_flush()
    assert list(await store.append([event("ann", "b", 2), event("bob", "b", 2)])) == [True, True]
    assert list((await store.fetch(ANN)).item_ids) == ["a", "b"]


async def test_a_silent_redis_costs_the_timeout_and_mixes_nothing_up(proxy: Proxy, keys: Keys) -> None:
    store = RedisStore(proxy.url, keys, replace(LIMITS, read_timeout_s=1.0, connections=1))
    await store.append([event("ann", "of ann", 1), event("bob", "of bob", 1)])
    proxy.holding = True
    with pytest.raises(StoreUnavailable, match="within 1000 ms"):
        await store.fetch(ANN)
    proxy.holding = False
    assert list((await store.fetch(BOB)).item_ids) == ["of bob"]
    assert list((await store.fetch(BOB)).item_ids) == ["of bob"]
    await store.close()


async def test_changes_after_a_loss_of_data_reach_a_reader_from_before(
    store: RedisStore, client: Redis, keys: Keys
) -> None:
    await store.put_items({ItemId(f"i{n}"): {} for n in range(50)})
    cursor = (await store.item_changes("0", 100))[-1].cursor
    await client.delete(keys.item_order, keys.item_records, keys.item_changes)
    await store.put_items({ItemId("new"): {}})
    assert [change.item_id for change in await store.item_changes(cursor, 10)] == ["new"]


async def test_changes_travel_on_a_bounded_stream(redis_url: str, client: Redis, keys: Keys) -> None:  # noqa: F811
    store = RedisStore(redis_url, keys, replace(LIMITS, item_log=100))
    for number in range(1000):
        await store.put_items({ItemId(f"i{number % 7}"): {"n": number}})
    assert 100 <= await client.xlen(keys.item_changes) < 300
    await store.close()


async def test_marks_of_deleted_items_are_listed_by_age_and_dropped(
    redis_url: str,  # noqa: F811
    client: Redis,
    keys: Keys,
) -> None:
    now = [1000.0]
    store = RedisStore(redis_url, keys, LIMITS, clock=lambda: now[0])
    items = [ItemId(f"i{number}") for number in range(4)]
    await store.put_items({item: {} for item in items})
    for item in items[:3]:
        now[0] += 10.0
        await store.delete_item(item)
    await store.put_items({items[1]: {"back": 1}})
    assert await store.deleted_items(1_010_000, 0, 10) == [items[0]]
    assert await store.deleted_items(1_030_000, 0, 10) == [items[0], items[2]]
    assert await store.deleted_items(1_030_000, 1, 10) == [items[2]]
    assert await store.forget_deleted(items, 1_029_999) == 1
    assert set(await client.hkeys(keys.item_records)) == {b"i1", b"i2", b"i3"}
    assert set(await client.zrange(keys.item_order, 0, -1)) == {b"i1", b"i2", b"i3"}
    assert await store.get_item(items[0]) is None
    assert await store.get_item(items[1]) is not None
    now[0] += 10.0
    await store.put_items({items[0]: {"again": 1}})
    assert await store.get_item(items[0]) is not None
    await store.close()


async def test_a_reader_that_keeps_up_sees_every_change(store: RedisStore) -> None:
    await store.put_items({ItemId("a"): {"n": 0}})
    cursor = (await store.item_changes("0", 10))[-1].cursor
    for number in range(1, 4):
        await store.put_items({ItemId("a"): {"n": number}})
    await store.delete_item(ItemId("a"))
    seen = [change.record for change in await store.item_changes(cursor, 10)]
    assert seen == [{"n": 1}, {"n": 2}, {"n": 3}, None]


async def test_a_reader_who_was_away_longer_than_the_stream_remembers_misses_nothing(
    redis_url: str,  # noqa: F811
    client: Redis,
    keys: Keys,
) -> None:
    store = RedisStore(redis_url, keys, replace(LIMITS, item_log=10))
    await store.put_items({ItemId("early"): {"n": 0}})
    cursor = (await store.item_changes("0", 10))[-1].cursor
    await store.put_items({ItemId(f"i{number}"): {"n": number} for number in range(600)})
    await client.xtrim(keys.item_changes, maxlen=10, approximate=False)
    seen: dict[str, object] = {}
    while changes := await store.item_changes(cursor, 100):
        assert len(changes) <= 100
        seen.update({change.item_id: change.record for change in changes})
        cursor = changes[-1].cursor
    assert seen == {f"i{number}": {"n": number} for number in range(600)}
    await store.close()


async def test_changes_that_were_never_announced_are_read_all_the_same(
    store: RedisStore, client: Redis, keys: Keys
) -> None:
    """A version of this service that knew no stream may still write beside this one."""
    await store.put_items({ItemId("a"): {}})
    cursor = (await store.item_changes("0", 10))[-1].cursor
    await client.hset(keys.item_records, "quiet", b'{"n": 1}')
    await client.zadd(keys.item_order, {"quiet": int(cursor) + 1})
    assert [change.item_id for change in await store.item_changes(cursor, 10)] == ["quiet"]


async def test_what_was_shown_is_remembered_bounded_and_for_a_time(
    store: RedisStore, client: Redis, keys: Keys
) -> None:
    await store.record([impression(ANN, f"r{n}", "a", "b") for n in range(4)] + [impression(None, "r", "c")])
    shown = await client.lrange(keys.exposures(ANN), 0, -1)
    assert [line.split(b"\x1f") for line in shown] == [[b"5", b"r3", b"a", b"b"], [b"5", b"r2", b"a", b"b"]]
    assert await client.ttl(keys.exposures(ANN)) > 0
    assert await client.xlen(keys.impression_log) == 5


async def test_deleting_a_user_erases_the_logs_too(store: RedisStore, client: Redis, keys: Keys) -> None:
    await store.append([event("ann", f"i{n}", n) for n in range(1500)] + [event("bob", "i", 1)])
    await store.record([impression(ANN, "r1", "a"), impression(BOB, "r2", "b")])
    await store.prefer(ANN, [], wish("x", 1, "i1"))
    assert await store.delete_user(ANN)
    left = [fields for log in (keys.event_log, keys.impression_log) for _, fields in await client.xrange(log)]
    assert left
    assert all(fields[b"user_id"] == b"bob" for fields in left)
    assert await client.keys(f"{keys.prefix}*ann*") == []


async def test_the_event_log_has_what_the_history_leaves_out(
    store: RedisStore, client: Redis, keys: Keys
) -> None:
    whole = event("ann", "i", 1, "e1")
    await store.append([whole.__class__(ANN, ItemId("i"), "rate", 3, "e1", 4.5, "r-1")])
    ((_, fields),) = await client.xrange(keys.event_log)
    assert orjson.loads(fields[b"json"]) == {
        "item_id": "i",
        "event": "rate",
        "timestamp": 3,
        "event_id": "e1",
        "value": 4.5,
        "request_id": "r-1",
    }


async def test_logs_are_bounded(redis_url: str, redis_prefix: str, client: Redis) -> None:  # noqa: F811
    keys = Keys(redis_prefix)
    store = RedisStore(redis_url, keys, replace(LIMITS, event_log=100))
    await store.append([event(f"u{n % 50}", "i", n) for n in range(2000)])
    assert await client.xlen(keys.event_log) < 500
    await store.close()


@pytest.mark.parametrize("query", ["", "?max_connections=3"], ids=["channel", "pool"])
async def test_a_caller_with_less_time_than_the_store_is_told_within_it(
    proxy: Proxy, keys: Keys, query: str
) -> None:
    store = RedisStore(proxy.url + query, keys, LIMITS)
    assert not (await store.fetch(ANN, 60.0)).known
    proxy.holding = True
    with pytest.raises(StoreUnavailable, match="within 20 ms"):
        await store.fetch(ANN, 0.02)
    proxy.holding = False
    assert not (await store.fetch(ANN)).known
    await store.close()


def test_a_users_keys_share_one_hash_tag_whatever_the_id() -> None:
    keys = Keys()
    for user in ("ann", "}{", "{}", "a}b", "%7D"):
        names = [
            getattr(keys, name)(UserId(user))
            for name in ("profile", "history", "event_ids", "interests", "exposures")
        ]
        tags = {name[name.index("{") + 1 : name.index("}")] for name in names}
        assert len(tags) == 1
        assert tags != {""}
    assert keys.history(UserId("}")) != keys.history(UserId("%7D"))
