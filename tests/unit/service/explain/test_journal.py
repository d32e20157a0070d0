"""What waits to be kept is bounded, and what cannot be packed ends nothing."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import replace

import pytest

from service.bundle import Bundle
from service.cascade.candidates import Candidates
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import Request, UserId
from service.engine import Engine
from service.explain.codec import unpack_trace
from service.explain.journal import AT_ONCE, QUEUE, Journal
from service.explain.trace import Recording
from service.features.store import StoreUnavailable, Trend
from service.features.traces import PackedTrace
from service.metrics import Metrics
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import NOW_MS


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine.build(Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles"))), NullObserver())


def recording(engine: Engine, name: str) -> Recording:
    request, batches = Request(user_id=UserId("ann"), count=5), dict[str, Candidates]()
    query = engine.hydrate(request, None, Moment(name, NOW_MS))
    outcome = engine.run(query, batches.__setitem__)
    return Recording(engine, request, None, query, outcome, batches, Trend())


def counted(metrics: Metrics, result: str) -> float:
    value: float = metrics.traces.labels(result)._value.get()
    return value


async def test_what_was_submitted_is_packed_and_stored(engine: Engine) -> None:
    stored: list[PackedTrace] = []

    async def store(traces: Sequence[PackedTrace]) -> None:
        stored.extend(traces)

    metrics = Metrics()
    journal = Journal(store, metrics, 0.0, 10)
    journal.start()
    for n in range(20):
        journal.submit(recording(engine, f"r{n}"))
    await journal.flush()
    await journal.stop(1)
    assert [one.request_id for one in stored] == [f"r{n}" for n in range(20)]
    assert {one.user_id for one in stored} == {"ann"}
    assert unpack_trace(stored[3].content).request_id == "r3"
    assert counted(metrics, "written") == 20
    assert metrics.trace_bytes._value.get() == sum(len(one.content) for one in stored)


async def test_while_the_store_hangs_only_so_many_wait_and_the_others_are_let_go(engine: Engine) -> None:
    async def never(traces: Sequence[PackedTrace]) -> None:
        await asyncio.Event().wait()

    metrics = Metrics()
    journal = Journal(never, metrics, 1.0, 10)
    journal.start()
    one = recording(engine, "r")
    for _ in range(10):
        for _ in range(2 * QUEUE):
            journal.submit(replace(one))
        await asyncio.sleep(0)
    gc.collect()
    alive = sum(type(each) is Recording for each in gc.get_objects())
    assert QUEUE <= alive <= QUEUE + AT_ONCE + 1
    assert counted(metrics, "dropped") >= 18 * QUEUE
    await journal.stop(0.01)


async def test_a_store_that_is_away_costs_traces_and_not_the_journal(engine: Engine) -> None:
    away = True
    stored: list[str] = []

    async def store(traces: Sequence[PackedTrace]) -> None:
        if away:
            raise StoreUnavailable("away")
        stored.extend(one.request_id for one in traces)

    metrics = Metrics()
    journal = Journal(store, metrics, 1.0, 10)
    journal.start()
    journal.submit(recording(engine, "lost"))
    await journal.flush()
    away = False
    journal.submit(recording(engine, "kept"))
    await journal.flush()
    await journal.stop(1)
    assert stored == ["kept"]
    assert counted(metrics, "dropped") == 1


async def test_what_cannot_be_packed_is_counted_and_the_rest_goes_on(engine: Engine) -> None:
    stored: list[str] = []

    async def store(traces: Sequence[PackedTrace]) -> None:
        stored.extend(one.request_id for one in traces)

    metrics = Metrics()
    journal = Journal(store, metrics, 1.0, 10)
    journal.start()
    fine = recording(engine, "fine")
    defect = replace(fine, request=replace(fine.request, filter={"field": object()}))
    huge = replace(
        fine, request=replace(fine.request, text="".join(chr(0x4E00 + n % 20_000) for n in range(900_000)))
    )
    for each in (defect, huge, fine):
        journal.submit(each)
    await journal.flush()
    await journal.stop(1)
    assert stored == ["fine"]
    assert [counted(metrics, result) for result in ("failed", "too_large", "written")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("keep", "share", "request_", "wanted"),
    [
        (10, 0.0, Request(), False),
        (10, 0.0, Request(explain=True), True),
        (10, 0.0, Request(trace=True), True),
        (10, 1.0, Request(), True),
        (0, 1.0, Request(trace=True, explain=True), False),
    ],
)
async def test_which_answers_leave_a_trace(keep: int, share: float, request_: Request, wanted: bool) -> None:
    async def store(traces: Sequence[PackedTrace]) -> None:
        raise AssertionError("nothing is stored in this test")

    assert Journal(store, Metrics(), share, keep).wants(request_, "r-1") is wanted
