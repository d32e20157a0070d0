from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from retrieval.factors import Factors
from retrieval.index import IndexSettings, build_index
from retrieval.pairs import FEATURES, PairScorer
from service.bundle import Bundle
from service.cascade.eligible import first_eligible
from service.cascade.hydrate import Moment
from service.cascade.hydrators.user_factors import UserFactors
from service.cascade.observe import NullObserver
from service.cascade.query import ItemId, Kind, Query, Request, SessionEvent
from service.cascade.sources import interests
from service.cascade.sources.anchor import Nearby, TogetherWith
from service.cascade.sources.factors import FactorSearch
from service.cascade.sources.fresh import Fresh
from service.cascade.sources.interests import InterestSearch
from service.cascade.sources.popular import Popular
from service.cascade.sources.similar import Personal, Similar
from service.engine import Engine
from service.features.store import ItemChange
from tests.support.queries import a_query
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import ITEMS, NOW_MS

SESSION = tuple(SessionEvent(ItemId(f"item-{row}"), "like") for row in (2, 6, 10))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    bundle = Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles")))
    return Engine.build(bundle, NullObserver())


def hydrated(engine: Engine, **request: Any) -> Query:
    """With the user's state, as a source finds it."""
    query = engine.hydrate(Request(**request), None, Moment("r", NOW_MS))
    for hydrator in engine.cascades[Kind.RECOMMEND].hydrators:
        query = hydrator.hydrate(query)
    return query


@pytest.mark.parametrize("size", [1, 3, 10, 1000])
def test_first_eligible_reads_on_until_there_are_enough(engine: Engine, size: int) -> None:
    order = np.arange(ITEMS, dtype=np.int32)
    barred = np.arange(0, 40, dtype=np.int32)
    rule = np.arange(ITEMS) % 3 == 0
    rows = first_eligible(a_query(exclude=barred, rule=rule), engine.catalogue, order, size)

    assert rows.tolist() == [row for row in range(40, ITEMS) if row % 3 == 0][:size]


def test_popular_items_come_in_order_without_what_cannot_return(engine: Engine) -> None:
    counts = engine.bundle.popularity[0]
    best = int(np.argmax(counts))
    rows = Popular(engine.catalogue, 5).fetch(a_query(exclude=np.array([best], np.int32))).rows

    assert best not in rows
    assert counts[rows].tolist() == sorted(np.delete(counts, [best, 7]), reverse=True)[:5]


def test_fresh_items_are_the_newest_by_age(engine: Engine) -> None:
    batch = Fresh(engine.catalogue, 4).fetch(a_query())

    assert batch.rows.tolist() == [0, 1, 2, 3]
    assert batch["score"].tolist() == [-86400.0 * day for day in (1, 2, 3, 4)]


def test_similar_items_are_what_the_lists_say(engine: Engine) -> None:
    near = engine.bundle.neighbours
    source = Similar(near, engine.plan, engine.catalogue, 5)
    one = hydrated(engine, session=SESSION[:1])

    wanted = [row for row in near.rows[2].tolist() if row >= 0][:5]
    assert source.fetch(one).rows.tolist() == wanted
    assert len(source.fetch(hydrated(engine))) == 0


def test_interests_by_exact_search_when_a_rule_leaves_little(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = InterestSearch(engine.bundle.index, engine.catalogue, 10)
    rule = {"field": "year", "op": "in", "value": [1975, 1976]}
    query = hydrated(engine, session=SESSION, filter=rule)
    exact = source.fetch(query)
    monkeypatch.setattr(interests, "EXACT", 0)
    wide = source.fetch(query)

    assert sorted(exact.rows.tolist()) == [15, 16, 17, 18, 19, 20]
    assert set(wide.rows.tolist()) <= set(exact.rows.tolist())
    assert len(wide) >= 4


def test_interests_find_new_items_beside_the_index(engine: Engine) -> None:
    record = {"genres": ["horror"]}
    changes = [ItemChange("1", ItemId(f"new-{i}"), record) for i in range(3)]
    after = engine.with_changes(changes, NOW_MS)
    batch = InterestSearch(after.bundle.index, after.catalogue, 10).fetch(hydrated(after, session=SESSION))

    assert ITEMS in batch.rows
    assert batch["interest_index"].dtype.kind == "i"


def test_an_interest_that_found_an_item_is_the_one_named(engine: Engine) -> None:
    query = hydrated(engine, session=SESSION)
    batch = InterestSearch(engine.bundle.index, engine.catalogue, 10).fetch(query)
    assert query.state.interests is not None
    scores = engine.bundle.item_vectors @ query.state.interests.queries.T
    named = scores[batch.rows, batch["interest_index"]]
    better = (scores[:, batch["interest_index"]] > named).sum(axis=0)

    assert (named <= batch["score"] + 1e-4).all()
    assert (better < 13).all()


def test_the_anchor_is_not_its_own_neighbour(engine: Engine) -> None:
    query = hydrated(engine, kind=Kind.SIMILAR, item_id=ItemId("item-2"))

    assert 2 not in TogetherWith(engine.bundle.neighbours, engine.catalogue).fetch(query).rows
    assert 2 not in Nearby(engine.bundle.index, engine.catalogue, 10).fetch(query).rows


def test_nearby_ignores_popularity(engine: Engine) -> None:
    query = hydrated(engine, kind=Kind.SIMILAR, item_id=ItemId("item-2"))
    rows = Nearby(engine.bundle.index, engine.catalogue, 10).fetch(query).rows[:10]
    directions = engine.bundle.item_vectors[:, :-1]
    cosine = directions @ directions[2]
    cosine[[2, 7]] = -1

    assert rows.tolist() == np.argsort(-cosine)[:10].tolist()


def personal(engine: Engine, weight: float) -> Personal:
    """A scorer that orders pairs by the user's taste alone, or against it."""
    first = np.zeros((len(FEATURES), 2), np.float32)
    first[FEATURES.index("taste")] = (weight, -weight)
    scorer = PairScorer(first, np.zeros(2, np.float32), np.array([1.0, -1.0], np.float32))
    return Personal(scorer, engine.bundle.popularity, engine.bundle.item_vectors)


def test_the_lists_are_pruned_by_what_suits_the_user(engine: Engine) -> None:
    query = hydrated(engine, session=SESSION)
    near = engine.bundle.neighbours
    listed, triggers = np.unique(near.rows[[2, 6, 10]], return_counts=True)
    able = (listed >= 0) & ~np.isin(listed, [2, 6, 7, 10])
    listed, triggers = listed[able], triggers[able]
    assert query.state.vector is not None
    taste = engine.bundle.item_vectors[listed] @ query.state.vector
    for weight in (2.0, -2.0):
        source = Similar(near, engine.plan, engine.catalogue, 4, personal(engine, weight))
        wanted = np.argsort(-(weight * taste + np.log(triggers)), kind="stable")[:4]
        assert source.fetch(query).rows.tolist() == listed[wanted].tolist()


def test_without_a_user_vector_or_pairs_the_lists_are_summed(engine: Engine) -> None:
    near, catalogue = engine.bundle.neighbours, engine.catalogue
    query = hydrated(engine, session=SESSION)
    summed = Similar(near, engine.plan, catalogue, 9).fetch(query).rows.tolist()
    lost = replace(query, state=replace(query.state, vector=None))
    some = personal(engine, -50.0)
    assert Similar(near, engine.plan, catalogue, 9, some).fetch(lost).rows.tolist() == summed
    plan = replace(engine.plan, pair_events=0)
    assert Similar(near, plan, catalogue, 9, some).fetch(query).rows.tolist() == summed
    assert Similar(near, engine.plan, catalogue, 9, some).fetch(query).rows.tolist() != summed


def with_factors(engine: Engine) -> Engine:
    vectors = np.ascontiguousarray(engine.bundle.item_vectors[:, :-1])
    factors = Factors(vectors, build_index(vectors, IndexSettings("flat"), 0), alpha=40.0, l2=1.0)
    return Engine.build(replace(engine.bundle, factors=factors), NullObserver())


def test_factors_find_what_is_near_the_events_and_may_return(engine: Engine) -> None:
    after = with_factors(engine)
    assert after.bundle.factors is not None
    source = FactorSearch(after.bundle.factors, after.catalogue, 6)
    solve = UserFactors(after.bundle.factors, after.plan)
    rows = source.fetch(solve.hydrate(hydrated(after, session=SESSION))).rows.tolist()
    assert len(rows) == 6
    assert not set(rows) & {2, 6, 10}
    assert {row % 4 for row in rows} == {2}
    assert len(source.fetch(solve.hydrate(hydrated(after)))) == 0
    rule = {"field": "year", "op": "<", "value": 1975}
    ruled = source.fetch(solve.hydrate(hydrated(after, session=SESSION, filter=rule))).rows
    assert 0 < len(ruled) <= 6
    assert ruled.max() < 15


def test_an_item_says_that_factors_proposed_it(engine: Engine) -> None:
    after = with_factors(engine)
    outcome = after.run(after.hydrate(Request(session=SESSION), None, Moment("r", NOW_MS)))
    bit = outcome.source_names.index("factors")
    assert (outcome.columns["sources"] >> bit & 1).any()
    assert "factors" not in engine.cascades[Kind.RECOMMEND].source_names


@pytest.mark.parametrize("kind", ["interests", "nearby"])
def test_a_source_looks_deeper_where_all_that_it_finds_is_excluded(engine: Engine, kind: str) -> None:
    """More is excluded than the source wants, and it is the best of what it would find."""
    source: Any = {
        "interests": InterestSearch(engine.bundle.index, engine.catalogue, 4),
        "nearby": Nearby(engine.bundle.index, engine.catalogue, 4),
    }[kind]
    query = hydrated(engine, session=SESSION, kind=Kind.SIMILAR, item_id=ItemId("item-2"))
    every = replace(source, size=200).fetch(query)
    best = every.rows[np.argsort(-every["score"], kind="stable")][:60]
    found = source.fetch(replace(query, exclude=best)).rows
    # The index has the anchor and what is hidden, too.
    assert len(found) >= 3
    assert not set(found.tolist()) & set(best.tolist())
