"""Answers of a service that remembers users are those of one that does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from service.cascade.hydrate import Moment
from service.cascade.query import ItemId, Outcome, Request, UserId
from service.engine import Engine
from service.features.store import ItemChange, UserRecord
from service.metrics import Metrics
from service.opening import open_engine
from service.settings import Settings
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import NOW_MS

MINUTE_MS = 60_000
SEEN = ["item-0", "item-4", "item-8"]


class Pair:
    """An engine that remembers users and one that does not, over the same bundle."""

    def __init__(self, folder: Path) -> None:
        self.metrics = Metrics()
        told = self.metrics.on_remembered
        self.forgetful = open_engine(Settings(bundles=folder), Metrics())
        self.remembers = open_engine(Settings(bundles=folder, remembered_users=10), Metrics(), told=told)

    def counted(self) -> tuple[float, float]:
        """Hits and misses."""
        hits, misses = (self.metrics.remembered.labels(result)._value.get() for result in ("hit", "miss"))
        return hits, misses

    def change(self, change: ItemChange) -> None:
        """Change an item in both."""
        self.forgetful = self.forgetful.with_changes([change], NOW_MS)
        self.remembers = self.remembers.with_changes([change], NOW_MS)

    def ask(self, items: Sequence[str], now_ms: int = NOW_MS) -> Outcome:
        """The answer of the one that remembers, which is the other's."""
        one, other = (asked(engine, items, now_ms) for engine in (self.remembers, self.forgetful))
        assert one.rows.tolist() == other.rows.tolist()
        assert one.columns["score"].tobytes() == other.columns["score"].tobytes()
        assert vector_of(one) == vector_of(other)
        return one


def asked(engine: Engine, items: Sequence[str], now_ms: int) -> Outcome:
    """An answer to somebody who liked these items, a minute each, the last three days ago."""
    first = NOW_MS - 3 * 24 * 60 * MINUTE_MS
    times = [first + number * MINUTE_MS for number in range(len(items))]
    record = UserRecord({}, [ItemId(item) for item in items], ["like"] * len(items), times, True)
    moment = Moment("r", now_ms)
    return engine.run(engine.hydrate(Request(user_id=UserId("ann"), count=10), record, moment))


def vector_of(outcome: Outcome) -> bytes:
    """The user's vector that an answer was made with."""
    assert outcome.state.vector is not None
    return outcome.state.vector.tobytes()


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    write_tiny_bundle(tmp_path)
    return Pair(tmp_path)


def test_a_user_who_comes_back_is_remembered(pair: Pair) -> None:
    pair.ask(SEEN)
    assert pair.counted() == (0, 2)
    pair.ask(SEEN, NOW_MS + 5_000)
    assert pair.counted() == (2, 2)


def test_a_new_event_is_seen_by_the_very_next_answer(pair: Pair) -> None:
    before = pair.ask(SEEN)
    after = pair.ask([*SEEN, "item-1"])

    assert pair.counted() == (0, 4)
    assert vector_of(before) != vector_of(after)


def test_time_that_passes_is_seen(pair: Pair) -> None:
    pair.ask(SEEN)
    pair.ask(SEEN, NOW_MS + 30 * 24 * 60 * MINUTE_MS)
    assert pair.counted() == (0, 4)


def test_another_vector_of_an_item_is_seen(pair: Pair) -> None:
    pair.change(ItemChange("1", ItemId("new"), {"title": "A fright", "genres": ["horror"]}))
    before = pair.ask([*SEEN, "new"])
    pair.change(ItemChange("2", ItemId("new"), {"title": "Fun for all", "genres": ["comedy"]}))
    after = pair.ask([*SEEN, "new"])

    assert vector_of(before) != vector_of(after)


def test_nobody_is_remembered_unless_it_is_asked_for(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path)
    metrics = Metrics()
    engine = open_engine(Settings(bundles=tmp_path), metrics, told=metrics.on_remembered)
    asked(engine, SEEN, NOW_MS)
    asked(engine, SEEN, NOW_MS)
    assert "cascada_remembered_users_total{" not in metrics.render().decode()
