"""A trace gives its list again bit for bit, whatever the list was asked for and whatever failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.bundle import Bundle
from service.cascade.cursor import Cursor
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import Cap, ItemId, Kind, Own, Query, Request, SessionEvent, UserId
from service.engine import Engine
from service.explain.replay import Replay
from service.features.store import ItemChange, Preference, PreferenceKind, Trend, UserRecord
from service.trends import Trends
from tests.support.queries import cursor_after
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import DAY_MS, NOW_MS
from tests.support.traces import stored, trace_of

RECORD = UserRecord(
    attributes={"segment": "old"},
    item_ids=[ItemId(f"item-{row}") for row in (2, 6, 1, 10, 33)],
    kinds=["like", "view", "like", "like", "view"],
    timestamps_ms=[NOW_MS - 60_000 * age for age in (50, 40, 30, 3, 2)],
    known=True,
    preferences=(Preference("1", PreferenceKind.PIN, NOW_MS - 5, (ItemId("item-1"), ItemId("item-5"))),),
)
TREND = Trend([f"item-{row}" for row in range(60, 20, -1)], [float(row) for row in range(60, 20, -1)])
KNOWN: Mapping[str, Any] = {"user_id": UserId("ann")}
REQUESTS: Mapping[str, Request] = {
    "plain": Request(**KNOWN),
    "stranger": Request(),
    "controls": Request(
        **KNOWN,
        count=7,
        session=[SessionEvent(ItemId("item-14"), "like"), SessionEvent(ItemId("nobody's"), "view", NOW_MS)],
        filter={"any": [{"field": "year", "op": "<", "value": 2000}, {"field": "genres", "op": "exists"}]},
        boost=[{"filter": {"field": "genres", "op": "has", "value": "western"}, "factor": 3.0}],
        exclude_items=[ItemId("item-18"), ItemId("item-22")],
        exclude_own=Own("studio"),
        caps=[Cap("genres", 2, 5)],
        diversity=0.6,
    ),
    "search": Request(**KNOWN, kind=Kind.SEARCH, text="drama number 1"),
    "similar": Request(**KNOWN, kind=Kind.SIMILAR, item_id=ItemId("item-2")),
    "complementary": Request(kind=Kind.COMPLEMENTARY, item_id=ItemId("item-3")),
    "elsewhere": Request(**KNOWN, placement="home"),
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles"), explains=True))


def engine_of(bundle: Bundle, trend: Trend = TREND, **plan: Any) -> Engine:
    trends = Trends(dict.fromkeys(bundle.schema.placements, trend))
    quotas = {**bundle.plan.quotas, "trending": 0.3, "fresh": 0.3}
    return Engine.build(
        bundle, NullObserver(), plan=replace(bundle.plan, quotas=quotas, explore=0.2, **plan), trends=trends
    )


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Engine:
    return engine_of(bundle)


@pytest.mark.parametrize("name", list(REQUESTS))
@pytest.mark.parametrize("quality", [1.0, 0.4])
def test_the_list_comes_out_bit_for_bit(engine: Engine, name: str, quality: float) -> None:
    request = REQUESTS[name]
    record = None if request.user_id is None else RECORD
    trace = stored(trace_of(engine, request, record, Moment(f"r-{name}", NOW_MS, quality=quality)))
    again = Replay.of(trace, engine)

    assert len(trace.answer_ids) >= 4
    assert again.is_exact
    assert again.ids(again.outcome) == trace.answer_ids
    assert again.outcome.columns["score"].tobytes() == trace.answer_scores.tobytes()


def test_a_later_page_comes_out_too(engine: Engine) -> None:
    first = REQUESTS["plain"]
    query = engine.hydrate(first, RECORD, Moment("page-1", NOW_MS))
    cursor = cursor_after(engine, first, query, engine.run(query))
    assert cursor is not None
    trace = stored(trace_of(engine, replace(first, cursor=cursor), RECORD, Moment("page-2", NOW_MS)))
    assert trace.offset == 20
    assert Replay.of(trace, engine).is_exact


def test_what_trended_then_is_remembered(bundle: Bundle) -> None:
    shallow = engine_of(bundle, depth="retrieve")
    trace = stored(trace_of(shallow, REQUESTS["plain"], RECORD))
    later = engine_of(bundle, Trend(["item-119", "item-118"], [900.0, 800.0]), depth="retrieve")
    assert "trending" in {name for at in range(len(trace.funnel)) for name in trace.funnel.proposed_by(at)}
    assert Replay.of(trace, later).is_exact
    assert not Replay.of(replace(trace, trend=Trend(["item-119"], [9.0])), later).is_exact


class _Broken:
    """A graph that fails, as a corrupt model would."""

    inputs: tuple[str, ...] = ()
    shapes: Mapping[str, Any] = {}

    def run(self, **_: Any) -> Any:
        raise RuntimeError("out of order")

    run_all = run


@pytest.mark.parametrize("part", ["ranker", "preranker", "user_tower"])
def test_a_stage_that_failed_then_fails_again(bundle: Bundle, part: str, engine: Engine) -> None:
    lame = engine_of(replace(bundle, **{part: _Broken()}))
    trace = stored(trace_of(lame, REQUESTS["plain"], RECORD))
    assert trace.degraded
    again = Replay.of(trace, engine)
    assert again.is_exact
    assert again.outcome.degraded == trace.degraded
    assert not Replay.of(replace(trace, degraded=()), engine).is_exact


def test_an_answer_out_of_time_comes_out_without_a_clock(engine: Engine) -> None:
    trace = stored(trace_of(engine, REQUESTS["plain"], RECORD, Moment("late", NOW_MS, deadline=0.0)))
    assert {"prerank", "rank"} <= set(trace.degraded)
    assert Replay.of(trace, engine).is_exact


def test_another_user_or_another_seed_is_another_list(bundle: Bundle) -> None:
    """The test of the tests: what is stored matters."""
    plan = replace(
        bundle.plan, depth="retrieve", quotas={"fresh": 0.5, "interests": 0.5}, fresh_days=200.0, ranked=60
    )
    engine = Engine.build(bundle, NullObserver(), plan=plan)
    trace = stored(trace_of(engine, Request(**KNOWN, count=60), RECORD))
    assert Replay.of(trace, engine).is_exact
    assert not Replay.of(replace(trace, record=None), engine).is_exact
    assert not Replay.of(replace(trace, request_id="another seed"), engine).is_exact


def test_a_changed_catalogue_is_told(engine: Engine) -> None:
    trace = stored(trace_of(engine, REQUESTS["plain"], RECORD))
    gone = engine.with_changes([ItemChange("1", trace.answer_ids[0], None)], NOW_MS)
    again = Replay.of(trace, gone)
    assert not again.is_exact
    assert trace.answer_ids[0] not in again.ids(again.outcome)


def test_the_schedule_is_that_of_the_moment(engine: Engine) -> None:
    """An item that was on sale then, and is no more, is in the list again."""
    until = {"available_until": NOW_MS + DAY_MS, "genres": ["drama"], "year": 1970}
    there = engine.with_changes([ItemChange("1", ItemId("item-5"), until)], NOW_MS)
    session = [SessionEvent(ItemId(f"item-{row}"), "like") for row in (1, 9, 13, 17)]
    trace = stored(trace_of(there, Request(session=session, count=60)))
    later = there.over(there.catalogue.at(NOW_MS + 2 * DAY_MS))
    assert "item-5" in trace.answer_ids
    assert not later.catalogue.available[5]
    assert Replay.of(trace, later).is_exact


def test_another_bundle_replays_nothing(engine: Engine) -> None:
    trace = stored(trace_of(engine, REQUESTS["plain"], RECORD))
    with pytest.raises(ValueError, match="cannot replay older"):
        Replay.of(replace(trace, bundle_version="older"), engine)


def test_events_are_taken_away_wherever_they_are_kept(engine: Engine) -> None:
    session = [SessionEvent(ItemId("item-2"), "like"), SessionEvent(ItemId("item-21"), "like")]
    trace = stored(trace_of(engine, Request(**KNOWN, session=session), RECORD))
    again = Replay.of(trace, engine)

    def rows(query: Query) -> list[int]:
        return query.user.rows.tolist()

    assert sorted(rows(again.query)) == [1, 2, 2, 6, 10, 21, 33]
    assert sorted(rows(again.query_without(["item-2"]))) == [1, 6, 10, 21, 33]
    assert sorted(rows(again.query_without(["item-21", "item-1"]))) == [2, 2, 6, 10, 33]


def test_a_replay_counts_nothing(bundle: Bundle) -> None:
    class Counts(NullObserver):
        answers = 0

        def on_answer(self, *_: Any) -> None:
            self.answers += 1

    counts = Counts()
    engine = Engine.build(bundle, counts)
    trace = stored(trace_of(engine, REQUESTS["plain"], RECORD))
    assert counts.answers == 1
    _ = Replay.of(trace, engine).outcome
    assert counts.answers == 1


def test_the_cursor_of_a_trace_is_the_services_own(engine: Engine) -> None:
    """A cursor sealed with another key cannot be replayed, and says so by its field."""
    from service.cascade.cursor import Cursors
    from service.errors import CallerError

    request = REQUESTS["plain"]
    foreign = Cursors(b"other").write(request, Cursor(1, np.array([5], np.uint32)))
    trace = replace(stored(trace_of(engine, request, RECORD)), request=replace(request, cursor=foreign))
    with pytest.raises(CallerError, match="cursor"):
        _ = Replay.of(trace, engine).query
