from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from retrieval.preferences import Preferences
from service.bundle import Bundle
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import Cap, ItemId, Kind, Own, Request, SessionEvent, UserId
from service.engine import Engine
from tests.support.queries import cursor_after
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import ITEMS, NOW_MS

LISTED = ITEMS - 1
"""One is hidden."""
WESTERN = {"field": "genres", "op": "has", "value": "western"}
LATE = {"field": "year", "op": ">=", "value": 2005}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine.build(Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles"))), NullObserver())


def told(engine: Engine, **said: Any) -> dict[str, Any] | None:
    request = Request(**said)
    query = engine.hydrate(request, None, Moment("r", NOW_MS))
    return engine.starvation(request, query, engine.run(query))


def test_each_rule_is_told_with_what_it_lets_through(engine: Engine) -> None:
    session = [SessionEvent(ItemId(f"item-{row}"), "like") for row in (3, 107)]
    gone = [ItemId("item-111"), ItemId("item-0"), ItemId("unknown")]
    assert told(engine, filter={"all": [WESTERN, LATE]}, exclude_items=gone, session=session) == {
        "wanted": 20,
        "returned": 2,
        "available": LISTED,
        # Westerns are 3, 7 (hidden), 11, ...; 105 to 119 are of 2005 and later: 107, 111, 115, 119.
        "passes": {
            "filter": 4,
            "filter.all[0]": 29,
            "filter.all[1]": 15,
            "exclude_items": LISTED - 2,
            "seen": LISTED - 2,
        },
        "passes_all": 2,
        "caps": {},
        "capped": 0,
    }


def test_the_placements_filter_and_own_items_are_told_apart(engine: Engine) -> None:
    found = told(
        engine,
        filter=WESTERN,
        placement="home",
        placement_filter=LATE,
        exclude_own=Own("studio"),
        user_id=UserId("north"),
    )
    assert found is not None
    assert found["passes"] == {
        "filter": 29,
        "placements.home.filter": 15,
        "exclude_own": ITEMS // 3,
    }
    assert found["passes_all"] == found["returned"] == 1


def test_caps_are_told_by_what_they_kept_out(engine: Engine) -> None:
    found = told(engine, caps=[Cap("genres", 1)], count=10)
    assert found is not None
    assert (found["wanted"], found["passes"], found["passes_all"]) == (10, {}, LISTED)
    assert found["returned"] == 4
    assert found["capped"] > 0


def test_muted_interests_are_told(engine: Engine) -> None:
    request = Request(count=100)
    query = engine.hydrate(request, None, Moment("r", NOW_MS))
    query = replace(query, preferences=Preferences.of(muted=[0, 1, 2]))
    found = engine.starvation(request, query, engine.run(query))
    assert found is not None
    assert list(found["passes"]) == ["muted"]
    assert found["passes"]["muted"] == found["passes_all"] < 100


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"filter": WESTERN, "count": 5},
        {"count": 200},
        {"kind": Kind.SEARCH, "text": "western", "filter": {"field": "year", "op": ">=", "value": 1990}},
        {"kind": Kind.SEARCH, "text": "nosuchword"},
        {"kind": Kind.SIMILAR, "item_id": ItemId("item-2")},
        {"caps": [Cap("genres", 2, 5)], "count": 5},
    ],
    ids=str,
)
def test_a_list_that_no_rule_shortens_is_not_starved(engine: Engine, said: dict[str, Any]) -> None:
    assert told(engine, **said) is None


def test_the_end_of_a_list_is_no_starvation(engine: Engine) -> None:
    request = Request(filter=WESTERN, count=20)
    query = engine.hydrate(request, None, Moment("r", NOW_MS))
    cursor = cursor_after(engine, request, query, engine.run(query))
    second = engine.hydrate(replace(request, cursor=cursor), None, Moment("r2", NOW_MS))
    outcome = engine.run(second)
    assert len(outcome.rows) < 20
    assert engine.starvation(request, second, outcome) is None
