from __future__ import annotations

import asyncio
from collections.abc import Sequence

from service.cascade.query import ItemId
from service.effects import SideEffects
from service.features.store import StoreUnavailable
from service.features.streams import Impression
from service.metrics import Metrics


def impression(number: int) -> Impression:
    return Impression(f"r{number}", None, "recommend", "default", "b", 0, [ItemId("i")])


def counted(metrics: Metrics, result: str) -> float:
    return metrics.side_effects.labels(result)._value.get()


async def test_all_that_was_submitted_is_written_in_order_and_in_batches() -> None:
    batches: list[Sequence[Impression]] = []

    async def write(batch: Sequence[Impression]) -> None:
        batches.append(batch)

    metrics = Metrics()
    effects = SideEffects(write, metrics.side_effects, 1000)
    effects.start()
    for number in range(600):
        effects.submit(impression(number))
    await effects.flush()
    assert [one.request_id for batch in batches for one in batch] == [f"r{n}" for n in range(600)]
    assert len(batches) <= 12
    assert counted(metrics, "written") == 600
    await effects.stop(1)


async def test_a_full_queue_drops_and_counts_and_never_waits() -> None:
    async def never(batch: Sequence[Impression]) -> None:
        await asyncio.Event().wait()

    metrics = Metrics()
    effects = SideEffects(never, metrics.side_effects, 5)
    for number in range(12):
        effects.submit(impression(number))
    assert counted(metrics, "dropped") == 7
    effects.start()
    await asyncio.wait_for(effects.stop(0.05), 60)


async def test_a_store_that_is_away_costs_the_log_and_not_the_worker() -> None:
    written: list[str] = []
    away = True

    async def write(batch: Sequence[Impression]) -> None:
        if away:
            raise StoreUnavailable("away")
        written.extend(one.request_id for one in batch)

    metrics = Metrics()
    effects = SideEffects(write, metrics.side_effects, 10)
    effects.start()
    effects.submit(impression(1))
    await effects.flush()
    assert counted(metrics, "dropped") == 1
    away = False
    effects.submit(impression(2))
    await effects.flush()
    assert written == ["r2"]
    await effects.stop(1)
