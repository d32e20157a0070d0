"""The event that is named as the cause is the one that was planted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.bundle import Bundle
from service.cascade.observe import NullObserver
from service.cascade.query import ItemId, Request, SessionEvent, UserId
from service.engine import Engine
from service.explain.counterfactual import counterfactual, newest_items
from service.explain.replay import Replay
from service.features.store import UserRecord
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import NOW_MS, TASTES
from tests.support.traces import stored, trace_of

DRAMA, HORROR = TASTES.index("drama"), TASTES.index("horror")
AMPLE_S = 600.0


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine.build(Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles"))), NullObserver())


def record_of(*rows: int) -> UserRecord:
    count = len(rows)
    return UserRecord(
        item_ids=[ItemId(f"item-{row}") for row in rows],
        kinds=["like"] * count,
        timestamps_ms=[NOW_MS - 60_000 * (count - i) for i in range(count)],
        known=True,
    )


def replay_of(engine: Engine, record: UserRecord | None, **request: object) -> Replay:
    asked = Request(user_id=UserId("ann"), **request)  # type: ignore[arg-type]
    return Replay.of(stored(trace_of(engine, asked, record)), engine)


def taste_of(item: str) -> int:
    return int(item.removeprefix("item-")) % len(TASTES)


def test_the_one_event_behind_another_taste_is_the_cause(engine: Engine) -> None:
    """Two dramas and one horror film: without the film none of the horror films is there, nothing else is."""
    replay = replay_of(engine, record_of(1, 5, 2), count=30)
    listed = replay.ids(replay.outcome)
    horror = [item for item in listed if taste_of(item) == HORROR]
    assert len(horror) > 4
    for item in horror[:4]:
        found = counterfactual(replay, item, AMPLE_S)
        assert found.rank == listed.index(ItemId(item)) + 1
        assert [one.items for one in found.causes] == [("item-2",)]
        assert {one.items for one in found.others} == {("item-1",), ("item-5",)}
        assert (found.complete, found.considered, found.items, found.runs) == (True, 3, 3, 4)


def test_an_exact_run_without_the_event_agrees(engine: Engine) -> None:
    """The claim itself, checked by asking as a user who never had the event."""
    replay = replay_of(engine, record_of(1, 5, 2), count=30)
    item = next(one for one in replay.ids(replay.outcome) if taste_of(one) == HORROR)
    for one in counterfactual(replay, item, AMPLE_S).causes:
        left = [row for row in (1, 5, 2) if f"item-{row}" not in one.items]
        kept = [i for i, row in enumerate((1, 5, 2)) if row in left]
        full = record_of(1, 5, 2)
        without = UserRecord(
            item_ids=[full.item_ids[i] for i in kept],
            kinds=[full.kinds[i] for i in kept],
            timestamps_ms=[full.timestamps_ms[i] for i in kept],
            known=True,
        )
        assert item not in trace_of(engine, Request(user_id=UserId("ann"), count=30), without).answer_ids


def test_where_two_events_do_the_same_the_pair_is_found(engine: Engine) -> None:
    """Two horror films and a drama: either of them keeps the best horror film there, none without both."""
    replay = replay_of(engine, record_of(2, 6, 1), count=10)
    item = replay.ids(replay.outcome)[0]
    found = counterfactual(replay, item, AMPLE_S)
    assert taste_of(item) == HORROR
    assert [set(one.items) for one in found.causes] == [{"item-2", "item-6"}]
    assert found.complete
    assert {len(one.items) for one in found.others} >= {1}
    assert all(one.rank is not None and one.score is not None for one in found.others)


def test_an_item_that_many_events_keep_has_no_cause(engine: Engine) -> None:
    """Three horror films: no one and no two of them are to blame, and the answer names none."""
    replay = replay_of(engine, record_of(2, 6, 10, 1), count=10)
    found = counterfactual(replay, replay.ids(replay.outcome)[0], AMPLE_S)
    assert found.causes == ()
    assert found.complete
    assert found.others[0].items != ("item-1",)


def test_an_item_that_takes_the_place_itself_comes_last(engine: Engine) -> None:
    """Unseen, the event's own item enters the list and pushes the last one out: told apart."""
    replay = replay_of(engine, record_of(1, 5, 9, 13), count=5)
    last = replay.ids(replay.outcome)[-1]
    found = counterfactual(replay, last, AMPLE_S)
    flags = [one.takes_the_place for one in found.causes]
    assert True in flags
    assert flags == sorted(flags)


def test_only_the_newest_distinct_items_are_taken_away(engine: Engine) -> None:
    rows = [*range(0, 100, 3), 1, 1, 5, 1]
    replay = replay_of(engine, record_of(*rows), count=10)
    newest = newest_items(replay)
    assert newest[:3] == ["item-1", "item-5", "item-99"]
    found = counterfactual(replay, replay.ids(replay.outcome)[0], AMPLE_S, most=4)
    assert found.items == len(newest) == 36
    assert found.considered == 4
    assert found.runs <= 1 + 4 + 3
    tried = {item for one in (*found.causes, *found.others) for item in one.items}
    assert tried == set(newest[:4])


def test_time_that_runs_out_is_told(engine: Engine) -> None:
    def ticking() -> Iterator[float]:
        yield from range(10_000)

    clock = ticking()
    replay = replay_of(engine, record_of(1, 5, 2), count=10)
    found = counterfactual(replay, replay.ids(replay.outcome)[0], 3.0, clock=lambda: next(clock))
    assert not found.complete
    assert found.considered == 2
    assert found.runs == 3


def test_an_item_outside_of_the_list_costs_no_run(engine: Engine) -> None:
    replay = replay_of(engine, record_of(1, 5), count=5)
    found = counterfactual(replay, "item-119", AMPLE_S)
    assert (found.rank, found.causes, found.others, found.runs) == (None, (), (), 1)


def test_session_events_are_causes_like_stored_ones(engine: Engine) -> None:
    session = [SessionEvent(ItemId("item-2"), "like")]
    replay = replay_of(engine, record_of(1, 5), count=30, session=session)
    item = next(one for one in replay.ids(replay.outcome) if taste_of(one) == HORROR)
    assert counterfactual(replay, item, AMPLE_S).causes[0].items == ("item-2",)
