from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from service.cascade.query import ItemId
from service.features.store import ItemChange, StoreUnavailable
from service.follower import Follower
from service.metrics import Metrics
from service.watch import QUIET_S, Watch


class Engine:
    """Remembers what was applied; cannot read a record that is "poison"."""

    refused = 0

    def __init__(self, applied: tuple[str, ...] = ()) -> None:
        self.applied = applied

    def with_changes(self, changes: Sequence[ItemChange], now_ms: int) -> Engine:
        if any(change.record == {"is": "poison"} for change in changes):
            raise ValueError("poison")
        return Engine((*self.applied, *(change.item_id for change in changes)))

    def as_exported(self) -> Engine:
        return Engine()

    def warm(self) -> None:
        pass


class Holder:
    def __init__(self) -> None:
        self.engine = Engine()

    def use(self, engine: Engine) -> None:
        self.engine = engine


class Store:
    def __init__(self) -> None:
        self.changes: list[ItemChange] = []
        self.away = False
        self.refused = 0

    def add(self, item: str, **record: Any) -> None:
        self.changes.append(ItemChange(str(len(self.changes) + 1), ItemId(item), record))

    async def item_changes(self, after: str, limit: int) -> Sequence[ItemChange]:
        if self.away:
            self.refused += 1
            raise StoreUnavailable("away")
        return [change for change in self.changes if int(change.cursor) > int(after)][: min(limit, 2)]

    async def wait_for_changes(self, after: str, seconds: float) -> None:
        if self.away:
            self.refused += 1
            raise StoreUnavailable("away")
        await asyncio.sleep(seconds)


def follower() -> tuple[Follower, Store, Holder]:
    store, holder = Store(), Holder()
    return Follower(store, holder, Metrics(), 0.001), store, holder  # type: ignore[arg-type]


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


async def test_changes_are_applied_once_and_in_order() -> None:
    one, store, holder = follower()
    for number in range(5):
        store.add(f"i{number}")
    await one.catch_up()
    store.add("last")
    await one.catch_up()
    assert holder.engine.applied == ("i0", "i1", "i2", "i3", "i4", "last")


async def test_who_was_away_for_long_begins_anew_for_deletions_may_be_forgotten() -> None:
    store, holder, now = Store(), Holder(), [0.0]
    one = Follower(store, holder, Metrics(), 0.001, 100.0, lambda: now[0])  # type: ignore[arg-type]
    for name in ("stays", "goes"):
        store.add(name)
    await one.catch_up()
    # Nobody says any more that it went.
    store.changes = [store.changes[0], ItemChange("9", ItemId("late"), {})]
    now[0] = 49.0
    await one.catch_up()
    assert holder.engine.applied == ("stays", "goes", "late")
    now[0] = 100.0
    await one.catch_up()
    assert holder.engine.applied == ("stays", "late")


async def test_who_cannot_begin_anew_keeps_what_it_has_and_tries_again() -> None:
    store, holder, now = Store(), Holder(), [0.0]
    one = Follower(store, holder, Metrics(), 0.001, 100.0, lambda: now[0])  # type: ignore[arg-type]
    store.add("a")
    await one.catch_up()
    now[0], store.away = 1000.0, True
    with pytest.raises(StoreUnavailable):
        await one.catch_up()
    assert holder.engine.applied == ("a",)
    store.away, store.changes = False, [ItemChange("2", ItemId("b"), {})]
    await one.catch_up()
    assert holder.engine.applied == ("b",)


async def test_a_record_that_cannot_be_read_is_skipped_alone() -> None:
    one, store, holder = follower()
    store.add("a")
    store.add("bad", **{"is": "poison"})
    store.add("b")
    await one.catch_up()
    assert holder.engine.applied == ("a", "b")


async def test_many_who_wait_share_a_look_that_begins_after_they_came() -> None:
    one, store, holder = follower()
    looks = 0
    read = store.item_changes

    async def counted(after: str, limit: int) -> Sequence[ItemChange]:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0.01)
        return await read(after, limit)

    store.item_changes = counted  # type: ignore[method-assign]
    first = asyncio.create_task(one.catch_up())
    await until(lambda: looks > 0)  # it looks, and they come meanwhile

    async def change(number: int) -> None:
        store.add(f"i{number}")
        await one.catch_up()
        assert f"i{number}" in holder.engine.applied

    await asyncio.gather(first, *(change(number) for number in range(20)))
    # Two at a time, and an empty one at the end of each pass.
    assert looks <= 13
    assert len(holder.engine.applied) == 20


async def test_an_engine_that_is_new_gets_all_changes_again() -> None:
    one, store, _ = follower()
    store.add("a")
    await one.catch_up()
    advanced: Any = await one.advance(Engine())  # type: ignore[arg-type]
    assert advanced.applied == ("a",)


async def test_what_was_read_in_vain_is_read_again() -> None:
    one, store, holder = follower()
    for number in range(4):
        store.add(f"i{number}")
    read = store.item_changes

    async def breaks(after: str, limit: int) -> Sequence[ItemChange]:
        store.away = after != "0"
        return await read(after, limit)

    store.item_changes = breaks  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await one.advance(Engine())  # type: ignore[arg-type]
    store.item_changes, store.away = read, False  # type: ignore[method-assign]
    await one.catch_up()
    assert holder.engine.applied == ("i0", "i1", "i2", "i3")


async def test_an_outage_is_said_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cascada.follower")
    one, store, holder = follower()
    store.away = True
    one.start()
    await until(lambda: store.refused > 3)
    store.away = False
    store.add("a")
    await until(lambda: holder.engine.applied == ("a",))
    await until(lambda: len(caplog.records) == 2)
    await one.stop()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_why_a_stage_fell_back_is_logged_but_not_every_time(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    watch = Watch(lambda: now[0])
    for _ in range(5):
        watch.on_degraded("recommend", "rank", "failed", ValueError("why"))
    watch.on_degraded("recommend", "rank", "deadline", None)
    watch.on_degraded("search", "rank", "failed", ValueError("other"))
    assert len(caplog.records) == 2
    now[0] += QUIET_S
    watch.on_degraded("recommend", "rank", "failed", ValueError("why"))
    assert len(caplog.records) == 3
