from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from service.bundle import Bundle
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import ItemId, Outcome, Request, SessionEvent
from service.cascade.sources.fresh import Fresh
from service.engine import Engine
from service.features.store import ItemChange
from tests.support.queries import a_query
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import DAY_MS, ITEMS, NOW_MS

COMEDY = tuple(SessionEvent(ItemId(f"item-{row}"), "like") for row in (0, 4, 8, 12, 16))
PAGES = 60


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles")))


def engine(bundle: Bundle, explore: float, created_ms: int = NOW_MS, count: int = 5) -> Engine:
    """With new westerns, of which somebody who likes comedies would see nothing."""
    plan = replace(bundle.plan, explore=explore)
    changes = [
        ItemChange(str(n), ItemId(f"new-{n}"), {"genres": ["western"], "created_at": created_ms})
        for n in range(count)
    ]
    return Engine.build(bundle, NullObserver(), plan=plan).with_changes(changes, NOW_MS)


def answer(engine: Engine, number: int, count: int = 10) -> Outcome:
    request = Request(session=COMEDY, count=count)
    return engine.run(engine.hydrate(request, None, Moment(f"r-{number}", NOW_MS)))


def new_places(engine: Engine, count: int = 10) -> list[list[int]]:
    """The places of new items in each of many answers."""
    return [np.flatnonzero(answer(engine, number, count).rows >= ITEMS).tolist() for number in range(PAGES)]


def test_fresh_items_have_their_share_of_places_and_none_without_a_budget(bundle: Bundle) -> None:
    assert sum(map(len, new_places(engine(bundle, 0.0)))) == 0
    found = new_places(engine(bundle, 0.2))
    assert all(places == [8, 9] for places in found)


def test_a_share_below_one_place_holds_on_average(bundle: Bundle) -> None:
    found = new_places(engine(bundle, 0.05))
    assert {len(places) for places in found} == {0, 1}
    assert 0.3 * PAGES < sum(map(len, found)) < 0.7 * PAGES


def test_an_item_is_fresh_for_so_many_days(bundle: Bundle) -> None:
    old = engine(bundle, 0.2, created_ms=NOW_MS - 15 * DAY_MS)
    assert sum(map(len, new_places(old))) == 0


def test_an_explored_item_says_its_source_and_keeps_the_order_of_scores(bundle: Bundle) -> None:
    plan = replace(bundle.plan, quotas={"popular": 0.5, "fresh": 0.2})
    outcome = answer(engine(replace(bundle, plan=plan), 0.2), 0)
    bit = outcome.source_names.index("fresh")
    explored = outcome.rows >= ITEMS
    assert np.count_nonzero(explored) == 2
    assert (outcome.columns["sources"][explored] >> bit & 1).all()
    assert (np.diff(outcome.columns["score"]) <= 0).all()
    assert len(set(outcome.rows.tolist())) == 10


def test_of_a_burst_of_new_items_each_is_proposed_to_somebody(bundle: Bundle) -> None:
    many = engine(bundle, 0.05, count=100).catalogue
    proposed: set[int] = set()
    for seed in range(600):
        rows = Fresh(many, 6, 14.0).fetch(a_query(seed=seed)).rows
        assert len(set(rows.tolist())) == 6
        proposed |= set(rows.tolist())
    assert proposed >= set(range(ITEMS, ITEMS + 100))
    only = {tuple(Fresh(many, 6).fetch(a_query(seed=seed)).rows.tolist()) for seed in range(20)}
    assert len(only) == 1
