"""Caps over a catalogue in which nearly everything has one value: lists are full wherever that is lawful."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from models import artifacts
from models.artifacts import write_strings
from service.bundle import Bundle
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import Cap, ItemId, Kind, Outcome, Query, Request, SessionEvent
from service.cascade.room import most_of, within
from service.engine import Engine
from service.features.store import ItemChange
from tests.support.dual import add_dual_vectors
from tests.support.queries import cursor_after
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import ITEMS, NOW_MS, tiny_world

RARE = tuple(range(9, ITEMS, 10))
"""Rows of rare studios, each with one item, among which no favourite is."""
KINDS: dict[str, dict[str, Any]] = {
    "recommend": {"session": [SessionEvent(ItemId("item-2"), "like")]},
    "search": {"kind": Kind.SEARCH, "text": "number"},
    "similar": {"kind": Kind.SIMILAR, "item_id": ItemId("item-2")},
    "complementary": {"kind": Kind.COMPLEMENTARY, "item_id": ItemId("item-1")},
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Narrow: retrieval lets 20 through, the pre-ranker 10; nine tenths of 120 items are of one studio."""
    folder = write_tiny_bundle(tmp_path_factory.mktemp("bundles"))
    world = tiny_world()
    studios = {row: f"rare-{row}" if row in RARE else "giant" for row in range(ITEMS)}
    records = [{**record, "studio": studios[row]} for row, record in enumerate(world.records)]
    write_strings(folder, artifacts.ITEM_RECORDS, [json.dumps(record) for record in records])
    popularity = np.array(np.load(folder / artifacts.POPULARITY))
    popularity[:, list(RARE)] = 0.0
    np.save(folder / artifacts.POPULARITY, popularity)
    bundle = Bundle.open(add_dual_vectors(folder))
    plan = replace(bundle.plan, candidates=20, ranked=10, explore=0.0)
    return Engine.build(bundle, NullObserver(), plan=plan)


def ask(engine: Engine, **request: Any) -> tuple[Request, Query, Outcome]:
    asked = Request(**request)
    query = engine.hydrate(asked, None, Moment("r", NOW_MS))
    return asked, query, engine.run(query)


def studios(engine: Engine, outcome: Outcome) -> Counter[str]:
    records = (engine.catalogue.record_of(row) or {} for row in outcome.rows.tolist())
    return Counter(str(record.get("studio")) for record in records)


@pytest.mark.parametrize("depth", ["retrieve", "prerank", "rank"])
@pytest.mark.parametrize("kind", ["recommend", "search"])
def test_a_page_is_full_though_one_value_fills_the_candidates(engine: Engine, kind: str, depth: Any) -> None:
    other = Engine.build(engine.bundle, NullObserver(), plan=replace(engine.plan, depth=depth))
    asked, query, outcome = ask(other, count=10, caps=(Cap("studio", 1),), **KINDS[kind])
    assert len(outcome.rows) == 10
    assert max(studios(other, outcome).values()) == 1
    assert other.starvation(asked, query, outcome) is None


@pytest.mark.parametrize("kind", KINDS)
def test_windows_are_filled_too(engine: Engine, kind: str) -> None:
    _, _, outcome = ask(engine, count=6, caps=(Cap("studio", 1, 2),), **KINDS[kind])
    assert len(outcome.rows) >= 3, kind
    records = [str((engine.catalogue.record_of(row) or {})["studio"]) for row in outcome.rows.tolist()]
    assert all(one != other for one, other in pairwise(records))


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_without_caps_is_what_it_was(engine: Engine, kind: str) -> None:
    _, _, outcome = ask(engine, count=10, **KINDS[kind])
    assert studios(engine, outcome)["giant"] >= 8


def test_other_rules_hold_while_more_is_asked_for(engine: Engine) -> None:
    rule = {"field": "year", "op": "<", "value": 1990}
    gone = [ItemId("item-9"), ItemId("item-19")]
    _, _, outcome = ask(engine, count=5, caps=(Cap("studio", 1),), filter=rule, exclude_items=gone)
    assert len(outcome.rows) == 5
    assert (outcome.rows < 60).all()
    assert not {7, 9, 19} & set(outcome.rows.tolist())


def test_two_caps_at_once(engine: Engine) -> None:
    caps = (Cap("studio", 2), Cap("genres", 3))
    _, _, outcome = ask(engine, count=6, caps=caps)
    assert len(outcome.rows) == 6
    genres = Counter(
        genre for row in outcome.rows.tolist() for genre in (engine.catalogue.record_of(row) or {})["genres"]
    )
    assert max(genres.values()) <= 3
    assert max(studios(engine, outcome).values()) <= 2


def test_later_pages_are_full_too(engine: Engine) -> None:
    request = {"count": 6, "caps": (Cap("studio", 1),)}
    asked, query, first = ask(engine, **request)
    second = ask(engine, cursor=cursor_after(engine, asked, query, first), **request)[2]
    assert (len(first.rows), len(second.rows)) == (6, 6)
    assert max((studios(engine, first) + studios(engine, second)).values()) == 1


def test_what_caps_cannot_fill_is_told_cap_by_cap(engine: Engine) -> None:
    caps = (Cap("studio", 1), Cap("genres", 30))
    asked, query, outcome = ask(engine, count=20, caps=caps)
    told = engine.starvation(asked, query, outcome)
    assert told is not None
    # Twelve rare studios with one item each, and one place for the giant.
    assert told["caps"]["caps[0]"] == 13
    assert told["caps"]["caps[1]"] >= 100
    assert told["returned"] == 13
    assert told["wanted"] == 20


def test_a_value_that_came_live_is_counted(engine: Engine) -> None:
    changes = [
        ItemChange(str(n), ItemId(f"n-{n}"), {"studio": "upstart", "genres": ["horror"]}) for n in range(40)
    ]
    after = engine.with_changes(changes, NOW_MS)
    assert after.catalogue.counts("studio", np.arange(ITEMS + 40, dtype=np.int32))["upstart"] == 40
    _, _, outcome = ask(after, count=10, caps=(Cap("studio", 1),))
    assert len(outcome.rows) == 10
    assert max(studios(after, outcome).values()) == 1


def test_rows_beyond_the_room_of_a_page_are_not_useful(engine: Engine) -> None:
    query = ask(engine, count=4, caps=(Cap("studio", 1, 2),))[1]
    rows = np.array([0, 1, 9, 2, 3, 19, 4], np.int32)
    assert most_of(query.caps[0], 4) == 2
    kept = within(query, engine.catalogue, rows, slack=1)
    assert rows[kept].tolist() == [0, 1, 9, 19]
    assert within(replace(query, caps=()), engine.catalogue, rows).all()
    assert within(query, engine.catalogue, rows[:0]).tolist() == []
