"""The event that is named is the one that was planted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.bundle import Bundle
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import ItemId, Kind, Outcome, Query, Request, SessionEvent
from service.engine import Engine
from service.explain.weights import NO_GRAPH, NOT_RANKED, RankerWeights, ranker_weights
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import NOW_MS, SCHEMA, TASTES

DRAMA, HORROR, MINUTE_MS = TASTES.index("drama"), TASTES.index("horror"), 60_000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles"), explains=True))


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Engine:
    return Engine.build(bundle, NullObserver())


def events(*rows: int, event: str = "like") -> list[SessionEvent]:
    """A minute apart, the last a minute ago."""
    ages = range(len(rows), 0, -1)
    return [
        SessionEvent(ItemId(f"item-{row}"), event, NOW_MS - age * MINUTE_MS)
        for row, age in zip(rows, ages, strict=True)
    ]


def answer(engine: Engine, **request: Any) -> tuple[Query, Outcome]:
    query = engine.hydrate(Request(**request), None, Moment("r-1", NOW_MS))
    return query, engine.run(query)


def told(engine: Engine, query: Query, outcome: Outcome) -> list[RankerWeights]:
    found = ranker_weights(engine, query, outcome.rows, outcome.columns)
    assert not isinstance(found, str), found
    assert all(one is not None for one in found)
    return [one for one in found if one is not None]


def test_the_one_event_of_an_items_taste_is_named_first(engine: Engine) -> None:
    """Five dramas and, in the middle of them, one horror film: it is the cause of every horror film."""
    planted = ItemId("item-2")
    session = events(1, 5, 9, 2, 13, 17)
    query, outcome = answer(engine, session=session, count=60)
    weights = told(engine, query, outcome)
    horror = [w for w, row in zip(weights, outcome.rows.tolist(), strict=True) if row % 4 == HORROR]
    drama = [w for w, row in zip(weights, outcome.rows.tolist(), strict=True) if row % 4 == DRAMA]

    assert len(horror) > 3
    assert len(drama) > 3
    for one in horror:
        assert (one.gate[0].item_id, one.attention[0].item_id) == (planted, planted)
        assert (one.attention[0].event, one.attention[0].age_ms) == ("like", 3 * MINUTE_MS)
        assert len(one.gate) == len(one.attention) == 3
    for one in drama:
        assert planted not in {one.gate[0].item_id, one.attention[0].item_id}


def test_the_experts_parts_are_those_of_the_very_logit(engine: Engine) -> None:
    query, outcome = answer(engine, session=events(1, 5, 2), count=20)
    for one, logit in zip(told(engine, query, outcome), outcome.columns["rank"].tolist(), strict=True):
        assert sum(one.experts) - 3.0 == pytest.approx(logit, abs=1e-4)


def test_of_a_long_history_only_what_the_ranker_read_is_named(engine: Engine) -> None:
    """The history is cut to the newest; ages are those of the very events."""
    rows = [2, *(1 + 4 * (n % 20) for n in range(SCHEMA.history_length))]
    query, outcome = answer(engine, session=events(*rows), count=60)
    named = {event.item_id for one in told(engine, query, outcome) for event in one.attention}
    assert named
    assert "item-2" not in named
    ages = {event.age_ms for one in told(engine, query, outcome) for event in one.gate}
    assert max(ages) <= SCHEMA.history_length * MINUTE_MS


def test_somebody_without_events_has_none_that_weighed(engine: Engine) -> None:
    query, outcome = answer(engine, count=5)
    assert all(one.gate == one.attention == () for one in told(engine, query, outcome))


def test_an_unknown_kind_of_event_is_called_nothing(engine: Engine) -> None:
    query, outcome = answer(engine, session=events(2, event="dance"), count=5)
    assert {event.event for one in told(engine, query, outcome) for event in one.gate} == {None}


def test_an_item_that_the_ranker_did_not_see_has_no_weights(engine: Engine) -> None:
    query, outcome = answer(engine, session=events(1, 5, 2), count=5)
    rank = outcome.columns["rank"].copy()
    rank[2] = np.nan
    found = ranker_weights(engine, query, outcome.rows, {**outcome.columns, "rank": rank})
    assert [one is None for one in found] == [False, False, True, False, False]
    gone = ranker_weights(engine, query, outcome.rows, {**outcome.columns, "rank": rank * np.nan})
    assert gone == NOT_RANKED


@pytest.mark.parametrize("depth", ["retrieve", "prerank"])
def test_a_plan_without_the_ranker_says_so(bundle: Bundle, depth: Any) -> None:
    engine = Engine.build(bundle, NullObserver(), plan=replace(bundle.plan, depth=depth))
    query, outcome = answer(engine, session=events(1, 5, 2), count=5)
    assert ranker_weights(engine, query, outcome.rows, outcome.columns) == NOT_RANKED


def test_an_older_bundle_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    older = Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("older")))
    engine = Engine.build(older, NullObserver())
    query, outcome = answer(engine, session=events(1, 5, 2), count=5)
    assert ranker_weights(engine, query, outcome.rows, outcome.columns) == NO_GRAPH


@pytest.mark.parametrize("kind", [Kind.SEARCH, Kind.SIMILAR])
def test_other_lists_have_weights_too(engine: Engine, kind: Kind) -> None:
    about: dict[str, Any] = {"text": "horror"} if kind is Kind.SEARCH else {"item_id": ItemId("item-6")}
    query, outcome = answer(engine, kind=kind, session=events(1, 5, 2), count=5, **about)
    assert {one.attention[0].item_id for one in told(engine, query, outcome)} == {"item-2"}
