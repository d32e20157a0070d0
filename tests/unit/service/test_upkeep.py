from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from service import layers, overlay
from service.bundle import Bundle
from service.cascade.observe import NullObserver
from service.cascade.query import ItemId
from service.engine import Engine
from service.features.store import ItemChange
from service.upkeep import Upkeep
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import ITEMS, NOW_MS


class Holder:
    """Holds the engine as the recommender does."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def use(self, engine: Engine) -> None:
        self.engine = engine


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> float:
        return self.now_ms / 1000


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    bundle = Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles")))
    return Engine.build(bundle, NullObserver())


def change(item: str, record: dict[str, Any] | None) -> ItemChange:
    return ItemChange("1", ItemId(item), record)


def upkeep(holder: Holder, clock: Clock) -> Upkeep:
    return Upkeep(holder, asyncio.Lock(), 0.005, clock)  # type: ignore[arg-type]


async def test_windows_open_and_close_when_it_is_time(engine: Engine) -> None:
    window = {"available_from": NOW_MS + 1000, "available_until": NOW_MS + 2000}
    holder, clock = Holder(engine.with_changes([change("item-3", window)], NOW_MS)), Clock()
    one = upkeep(holder, clock)
    seen = []
    for moment in (0, 999, 1000, 1999, 2000):
        clock.now_ms = NOW_MS + moment
        await one.keep_time()
        seen.append(bool(holder.engine.catalogue.available[3]))
    assert seen == [False, False, True, True, False]


async def test_nothing_is_made_anew_while_nothing_opens(engine: Engine) -> None:
    holder, clock = Holder(engine), Clock()
    await upkeep(holder, clock).keep_time()
    await upkeep(holder, clock).tidy()
    assert holder.engine is engine


async def test_many_changes_are_settled_and_deleted_items_given_up(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "SETTLED", 10)
    monkeypatch.setattr(overlay, "_GONE", 5)
    changed = engine.with_changes([change(f"n-{n}", {"year": 3000 + n}) for n in range(30)], NOW_MS)
    holder = Holder(changed.with_changes([change(f"n-{n}", None) for n in range(10)], NOW_MS))
    one = upkeep(holder, Clock())
    one.start()
    try:
        async with asyncio.timeout(60):
            while len(holder.engine.catalogue) != ITEMS + 20:
                await asyncio.sleep(0.005)
    finally:
        await one.stop()
    catalogue = holder.engine.catalogue
    assert (len(catalogue), sum(map(len, catalogue.layers.recent))) == (ITEMS + 20, 0)
    mask = catalogue.rules.mask({"field": "year", "op": ">=", "value": 3000})
    found = catalogue.ids_of(np.flatnonzero(mask).astype(np.int32))
    assert set(found) == {f"n-{n}" for n in range(10, 30)}


async def test_a_defect_does_not_end_it(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Holder):
        calls = 0

        @property
        def engine(self) -> Engine:
            self.calls += 1
            raise ValueError("broken")

        @engine.setter
        def engine(self, engine: Engine) -> None:
            pass

    holder = Broken(engine)
    one = upkeep(holder, Clock())
    one.start()
    try:
        async with asyncio.timeout(60):
            while holder.calls <= 3:
                await asyncio.sleep(0.005)
    finally:
        await one.stop()
    assert "the catalogue's upkeep failed" in caplog.text
