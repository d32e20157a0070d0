"""A trace is the same after its journey through bytes, for every kind of list."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import orjson
import pytest

from service.bundle import Bundle
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import Cap, ItemId, Kind, Own, Request, SessionEvent, UserId
from service.engine import Engine
from service.explain.codec import VERSION, CorruptTrace, pack_trace, unpack_trace
from service.explain.trace import AnswerTrace
from service.features.store import Preference, PreferenceKind, Trend, UserRecord
from service.trends import Trends
from tests.support import traces
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import NOW_MS

RECORD = UserRecord(
    attributes={"segment": "old", "odd": ["é", 1.5]},
    item_ids=[ItemId("item-2"), ItemId("item-6"), ItemId("gone/✈")],
    kinds=["like", "view", "like"],
    timestamps_ms=[NOW_MS - 3000, NOW_MS - 2000, NOW_MS - 1000],
    known=True,
    preferences=(Preference("3", PreferenceKind.PIN, NOW_MS - 500, (ItemId("item-1"),)),),
)
MOMENT = Moment("r/1", NOW_MS, quality=0.75)
REQUESTS = {
    "recommend": Request(
        user_id=UserId("ann"),
        session=[SessionEvent(ItemId("item-10"), "like"), SessionEvent(ItemId("item-11"), "view", NOW_MS)],
        filter={"field": "year", "op": ">=", "value": 1975},
        boost=[{"filter": {"field": "genres", "op": "has", "value": "drama"}, "factor": 2.0}],
        exclude_items=[ItemId("item-5"), ItemId("no such/✈")],
        exclude_own=Own("studio"),
        caps=[Cap("genres", 3, 10)],
        diversity=0.3,
        explain=True,
    ),
    "search": Request(kind=Kind.SEARCH, text="drama 12 ✈", user_id=UserId("ann"), trace=True),
    "similar": Request(kind=Kind.SIMILAR, item_id=ItemId("item-2")),
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    trends = Trends()
    trends.current = {"default": Trend(["item-9", "never exported", "item-2"], [5.0, 4.25, 1e-3])}
    bundle = Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles")))
    plan = replace(bundle.plan, quotas={**bundle.plan.quotas, "trending": 0.1})
    return Engine.build(bundle, NullObserver(), plan=plan, trends=trends)


def trace_of(engine: Engine, request: Request, record: UserRecord | None = RECORD) -> AnswerTrace:
    return traces.trace_of(engine, request, record, MOMENT)


def as_json(one: Request | UserRecord) -> bytes:
    return orjson.dumps(asdict(one))


@pytest.mark.parametrize("kind", list(REQUESTS))
def test_nothing_is_lost_on_the_way(engine: Engine, kind: str) -> None:
    before = trace_of(engine, REQUESTS[kind])
    after = unpack_trace(pack_trace(before))

    assert len(before.item_ids) > 20
    assert as_json(after.request) == as_json(before.request)
    assert after.record is not None
    assert as_json(after.record) == as_json(RECORD)
    for name in ("request_id", "bundle_version", "now_ms", "quality", "degraded", "interests", "item_ids"):
        assert getattr(after, name) == getattr(before, name), name
    assert list(after.trend.item_ids) == list(before.trend.item_ids)
    assert list(after.trend.counts) == list(before.trend.counts)
    assert (after.funnel.steps, after.funnel.ends) == (before.funnel.steps, before.funnel.ends)
    assert np.array_equal(after.funnel.places, before.funnel.places)
    assert np.array_equal(after.funnel.end_place, before.funnel.end_place)
    assert set(after.funnel.columns) == set(before.funnel.columns)
    for name, column in before.funnel.columns.items():
        assert after.funnel.columns[name].dtype == column.dtype
        assert after.funnel.columns[name].tobytes() == column.tobytes(), name


def test_what_nobody_fetched_stays_nothing(engine: Engine) -> None:
    after = unpack_trace(pack_trace(trace_of(engine, Request(count=3), None)))
    assert after.record is None
    assert len(after.answer_ids) == 3


def test_every_candidate_has_one_end_and_the_answer_is_in_order(engine: Engine) -> None:
    request = REQUESTS["recommend"]
    query = engine.hydrate(request, RECORD, MOMENT)
    trace = trace_of(engine, request)

    assert (trace.funnel.end >= 0).all()
    assert trace.answer_ids == engine.catalogue.ids_of(engine.run(query).rows)
    assert (np.diff(trace.answer_scores) <= 0).sum() > 0
    last = trace.funnel.places[-1]
    assert last[trace.funnel.returned].tolist() == list(range(len(trace.answer_ids)))


def test_a_trace_is_small(engine: Engine) -> None:
    trace = trace_of(engine, REQUESTS["search"])
    assert len(pack_trace(trace)) < 150 * len(trace.item_ids)


@pytest.mark.parametrize(
    "raw",
    [b"", bytes([VERSION + 1]) + b"x", bytes([VERSION]), bytes([VERSION]) + b"not compressed"],
    ids=["nothing", "newer", "cut", "garbage"],
)
def test_what_is_no_trace_is_refused(raw: bytes) -> None:
    with pytest.raises(CorruptTrace):
        unpack_trace(raw)


def test_a_damaged_trace_is_refused_wherever_the_damage_is(engine: Engine) -> None:
    whole = pack_trace(trace_of(engine, REQUESTS["similar"]))
    for cut in (2, len(whole) // 2, len(whole) - 1):
        with pytest.raises(CorruptTrace):
            unpack_trace(whole[:cut])
