"""Caps, own items and exclusions over a small but real bundle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from service.bundle import Bundle
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import Cap, ItemId, Kind, Outcome, Own, Query, Request, SessionEvent, UserId
from service.engine import Engine
from service.errors import CallerError
from service.features.store import ItemChange, UserRecord
from tests.support.queries import cursor_after
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import ITEMS, NOW_MS, TASTES

LIKES_HORROR = tuple(SessionEvent(ItemId(f"item-{row}"), "like") for row in (2, 6, 10, 14, 18))
KINDS: dict[str, dict[str, Any]] = {
    "recommend": {},
    "search": {"kind": Kind.SEARCH, "text": "number"},
    "similar": {"kind": Kind.SIMILAR, "item_id": ItemId("item-22")},
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine.build(Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles"))), NullObserver())


def ask(engine: Engine, record: UserRecord | None = None, **request: Any) -> tuple[Query, Outcome]:
    query = engine.hydrate(Request(session=LIKES_HORROR, **request), record, Moment("r-1", NOW_MS))
    return query, engine.run(query)


def tastes(rows: Sequence[int]) -> list[str]:
    return [TASTES[row % len(TASTES)] for row in rows]


def windows_over(values: Sequence[str], cap: Cap) -> list[Counter[str]]:
    width = cap.window or len(values)
    counts = [Counter(values[start : start + width]) for start in range(len(values))]
    return [count for count in counts if max(count.values()) > cap.most]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cap", [Cap("genres", 1, 3), Cap("genres", 2, 8), Cap("genres", 2)], ids=str)
def test_no_window_of_a_list_breaks_its_cap(engine: Engine, kind: str, cap: Cap) -> None:
    rows = ask(engine, count=12, caps=(cap,), **KINDS[kind])[1].rows.tolist()
    free = ask(engine, count=12, **KINDS[kind])[1].rows.tolist()

    assert not windows_over(tastes(rows), cap)
    assert windows_over(tastes(free), cap)
    assert rows[0] == free[0]
    assert len(rows) >= 3


def test_caps_hold_over_pages(engine: Engine) -> None:
    cap = Cap("genres", 1, 4)
    rows: list[int] = []
    request: dict[str, Any] = {"count": 3, "caps": (cap,)}
    cursor = None
    for _ in range(4):
        query, outcome = ask(engine, **request, cursor=cursor)
        rows += outcome.rows.tolist()
        cursor = cursor_after(engine, Request(session=LIKES_HORROR, **request), query, outcome)
        if cursor is None:
            break

    assert len(rows) > 4
    assert not windows_over(tastes(rows), cap)


def test_a_changed_item_counts_by_what_it_is_now(engine: Engine) -> None:
    rows = ask(engine, count=6)[1].rows.tolist()
    change = ItemChange("1", ItemId(f"item-{rows[0]}"), {"genres": ["opera", "opera"], "year": 1990})
    changed = engine.with_changes([change], NOW_MS)
    codes = changed.catalogue.codes_of("genres", np.array(rows[:3], np.int32))

    opera, *others = [set(line) - {-1} for line in codes.tolist()]
    assert len(opera) == 1
    assert not opera & set.union(*others)
    assert others[0] == others[1]
    assert changed.catalogue.holding("genres", ["opera"]).tolist() == [rows[0]]


def test_codes_tell_sets_apart_and_absent_ones_are_empty(engine: Engine) -> None:
    codes = engine.catalogue.codes_of("genres", np.array([10, 2, 0, 1], np.int32)).tolist()
    horror, classic = codes[1][0], (set(codes[0]) & set(codes[2])).pop()
    assert set(codes[0]) == {horror, classic}
    assert codes[1][1:] == [-1]
    assert engine.catalogue.codes_of("studio", np.array([3, 1], np.int32))[0].tolist() == [-1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_users_own_items_stay_out(engine: Engine, kind: str) -> None:
    mine = [
        ItemChange(str(n), ItemId(f"item-{n}"), {"studio": "u-1", "genres": ["horror"]}) for n in (26, 30)
    ]
    changed = engine.with_changes(mine, NOW_MS)
    own = {"exclude_own": Own("studio"), "count": 100, "include_seen": True, **KINDS[kind]}

    assert not {26, 30} & set(ask(changed, user_id=UserId("u-1"), **own)[1].rows.tolist())
    others = ask(changed, user_id=UserId("u-2"), **own)[1].rows.tolist()
    nobody = ask(changed, **own)[1].rows.tolist()
    if kind != "search":
        assert {26, 30} & set(others)
        assert {26, 30} & set(nobody)


def test_own_items_by_an_attribute_of_the_profile(engine: Engine) -> None:
    own = {"exclude_own": Own("studio", "company"), "count": 60}
    record = UserRecord(attributes={"company": "north"})
    rows = ask(engine, record, **own)[1].rows
    assert len(rows)
    assert (rows % 3 == 0).all()
    assert (ask(engine, UserRecord(), **own)[1].rows % 3 != 0).any()


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        ({"caps": (Cap("genres", 1), Cap("year", 1))}, "caps[1].field"),
        ({"caps": (Cap("brand", 1),)}, "caps[0].field"),
        ({"exclude_own": Own("title")}, "exclude_own.field"),
        ({"exclude_own": Own("seller")}, "exclude_own.field"),
    ],
)
def test_a_field_that_has_no_labels_is_named(engine: Engine, request_: dict[str, Any], path: str) -> None:
    with pytest.raises(CallerError) as refused:
        ask(engine, **request_)
    assert refused.value.path == path


def test_ten_thousand_exclusions_leave_the_rest(engine: Engine) -> None:
    gone = [ItemId(f"item-{row}") for row in range(0, ITEMS, 2)]
    unknown = [ItemId(f"unknown-{n}") for n in range(10_000 - len(gone))]
    rows = ask(engine, exclude_items=[*gone, *unknown], count=30)[1].rows
    assert len(rows) == 30
    assert (rows % 2 == 1).all()
