from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.bundle import Bundle
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import ItemId, Kind, Query, Request, SessionEvent, UserId
from service.engine import Engine
from service.errors import CallerError, NotFound
from service.features.store import ItemChange, UserRecord
from tests.support.queries import cursor_after
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import NOW_MS

MOMENT = Moment("r-1", NOW_MS)
RECORD = UserRecord(
    attributes={"segment": "old"},
    item_ids=[ItemId("item-1"), ItemId("gone"), ItemId("item-2")],
    kinds=["view", "view", "like"],
    timestamps_ms=[NOW_MS - 5000, NOW_MS - 4000, NOW_MS - 3000],
    known=True,
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    bundle = Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles")))
    return Engine.build(bundle, NullObserver())


def hydrated(engine: Engine, record: UserRecord | None = RECORD, **request: Any) -> Query:
    return engine.hydrate(Request(**request), record, MOMENT)


def test_events_become_rows_and_unknown_items_are_skipped(engine: Engine) -> None:
    user = hydrated(engine).user

    assert user.rows.tolist() == [1, 2]
    assert user.kinds.tolist() == [1, 2]
    assert user.history.rows.tolist() == [[1, 2]]
    assert user.history.mask.all()
    assert user.profile.tolist() == [2]
    assert user.known


def test_a_session_without_times_is_newest(engine: Engine) -> None:
    session = (SessionEvent(ItemId("item-9"), "view"), SessionEvent(ItemId("item-8"), "unheard of"))
    user = hydrated(engine, session=session).user

    assert user.rows.tolist() == [1, 2, 9, 8]
    assert user.kinds.tolist() == [1, 2, 1, 0]
    assert user.timestamps[-2:].tolist() == [NOW_MS, NOW_MS]


def test_a_session_with_times_is_merged_by_time_and_never_in_the_future(engine: Engine) -> None:
    session = (
        SessionEvent(ItemId("item-9"), "view", NOW_MS + 10**9),
        SessionEvent(ItemId("item-8"), "view", NOW_MS - 3500),
    )
    user = hydrated(engine, session=session).user

    assert user.rows.tolist() == [1, 8, 2, 9]
    assert user.timestamps[-1] == NOW_MS


@pytest.mark.parametrize("record", [None, UserRecord()])
def test_nobody_is_an_empty_history(engine: Engine, record: UserRecord | None) -> None:
    user = hydrated(engine, record).user

    assert len(user.rows) == 0
    assert user.history.mask.tolist() == [[False]]
    assert not user.known


def test_a_profile_that_cannot_be_read_counts_as_absent(engine: Engine) -> None:
    assert hydrated(engine, UserRecord(attributes={"segment": ["?"], "age": {}})).user.profile.tolist() == [0]


def test_excluded_items_become_rows_and_unknown_ones_are_ignored(engine: Engine) -> None:
    assert hydrated(engine, exclude_items=[ItemId("item-4"), ItemId("nobody")]).exclude.tolist() == [4]


def test_a_rule_and_a_boost_are_masks_over_all_rows(engine: Engine) -> None:
    horror = {"field": "genres", "op": "has", "value": "horror"}
    query = hydrated(engine, filter=horror, boost=[{"filter": horror, "factor": 3.0}])

    assert query.rule is not None
    assert query.boost is not None
    assert np.flatnonzero(query.rule).tolist() == np.flatnonzero(query.boost == 3.0).tolist()
    assert (np.flatnonzero(query.rule) % 4 == 2).all()


def test_a_bad_rule_is_the_callers_error(engine: Engine) -> None:
    with pytest.raises(CallerError) as refused:
        hydrated(engine, filter={"all": [{"field": "color", "op": "==", "value": "red"}]})
    assert refused.value.path == "filter.all[0].field"


def test_an_anchor_becomes_its_row(engine: Engine) -> None:
    assert hydrated(engine, kind=Kind.SIMILAR, item_id=ItemId("item-6")).anchor == 6


@pytest.mark.parametrize("item", ["nobody", "item-6", None])
def test_an_unknown_or_deleted_anchor_is_not_found(engine: Engine, item: str | None) -> None:
    after = engine.with_changes([ItemChange("1", ItemId("item-6"), None)], NOW_MS)
    with pytest.raises(NotFound):
        hydrated(after, kind=Kind.SIMILAR, item_id=item)


@pytest.mark.parametrize(
    ("kind", "text", "becomes", "include_seen"),
    [
        (Kind.RECOMMEND, None, Kind.RECOMMEND, False),
        (Kind.SEARCH, "drama", Kind.SEARCH, True),
        (Kind.SEARCH, "   ", Kind.RECOMMEND, False),
        (Kind.SEARCH, "...!?", Kind.RECOMMEND, False),
        (Kind.SEARCH, "\x00\x1f", Kind.RECOMMEND, False),
        (Kind.SEARCH, None, Kind.RECOMMEND, False),
    ],
)
def test_a_search_without_words_is_a_recommendation(
    engine: Engine, kind: Kind, text: str | None, becomes: Kind, include_seen: bool
) -> None:
    query = hydrated(engine, kind=kind, text=text)

    assert (query.kind, query.include_seen) == (becomes, include_seen)
    assert hydrated(engine, kind=kind, text=text, include_seen=not include_seen).include_seen != include_seen


def test_an_unknown_placement_is_served_as_the_first(engine: Engine) -> None:
    assert hydrated(engine, placement="home").placement == 1
    assert hydrated(engine, placement="moon").placement == 0


def test_the_seed_follows_the_request_and_stays_over_pages(engine: Engine) -> None:
    first = engine.hydrate(Request(user_id=UserId("u")), None, MOMENT)
    assert engine.hydrate(Request(), None, MOMENT).seed == first.seed
    assert engine.hydrate(Request(), None, Moment("r-2", NOW_MS)).seed != first.seed

    cursor = cursor_after(engine, Request(user_id=UserId("u")), first, engine.run(first))
    second = engine.hydrate(Request(user_id=UserId("u"), cursor=cursor), None, Moment("r-2", NOW_MS))
    assert (second.seed, second.offset) == (first.seed, first.count)
