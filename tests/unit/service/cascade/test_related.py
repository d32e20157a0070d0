"""Lists that start from one item, over a bundle with planted dual vectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import artifacts
from models.artifacts import BundleError
from models.plan import Plan
from retrieval.index import IndexSettings, build_index
from service.bundle import Bundle
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import ItemId, Kind, Outcome, Request
from service.cascade.scorers.relevance import weighed
from service.engine import Engine
from service.errors import OperatorError
from service.features.store import ItemChange
from tests.support.dual import add_dual_vectors
from tests.support.queries import cursor_after
from tests.support.tiny_bundle import reseal, write_tiny_bundle
from tests.support.tiny_world import ITEMS, NOW_MS, TASTES

UNMET = 50
HORROR = TASTES.index("horror")
AFTER_HORROR = (HORROR + 1) % len(TASTES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_dual_vectors(write_tiny_bundle(tmp_path_factory.mktemp("dual")), unmet=(UNMET,))


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return Engine.build(Bundle.open(folder), NullObserver())


def answer(engine: Engine, kind: Kind, item: str, **request: Any) -> Outcome:
    asked = Request(kind=kind, item_id=ItemId(item), **request)
    return engine.run(engine.hydrate(asked, None, Moment("r-1", NOW_MS)))


def tastes(outcome: Outcome) -> list[int]:
    return [row % len(TASTES) for row in outcome.rows.tolist()]


@pytest.mark.parametrize("depth", ["retrieve", "prerank", "rank"])
@pytest.mark.parametrize(
    ("kind", "taste"), [(Kind.SIMILAR, HORROR), (Kind.COMPLEMENTARY, AFTER_HORROR)], ids=str
)
def test_each_relation_has_its_own_list(engine: Engine, kind: Kind, taste: int, depth: Any) -> None:
    other = Engine.build(engine.bundle, NullObserver(), plan=replace(engine.plan, depth=depth))
    outcome = answer(other, kind, "item-2", count=10)
    assert tastes(outcome) == [taste] * 10
    assert 2 not in outcome.rows
    assert outcome.degraded == ()


def test_complements_obey_rules_and_exclusions_and_continue(engine: Engine) -> None:
    rule = {"field": "year", "op": "<", "value": 1990}
    outcome = answer(engine, Kind.COMPLEMENTARY, "item-2", count=5, filter=rule)
    assert tastes(outcome) == [AFTER_HORROR] * 5
    assert (outcome.rows < 60).all()
    assert 7 not in outcome.rows, "item 7 is hidden"
    gone = engine.catalogue.ids_of(outcome.rows)
    more = answer(engine, Kind.COMPLEMENTARY, "item-2", count=5, filter=rule, exclude_items=gone)
    assert not set(more.rows.tolist()) & set(outcome.rows.tolist())


def test_a_cursor_of_one_relation_is_refused_by_the_other(engine: Engine) -> None:
    asked = Request(kind=Kind.COMPLEMENTARY, item_id=ItemId("item-2"), count=5)
    query = engine.hydrate(asked, None, Moment("r-1", NOW_MS))
    cursor = cursor_after(engine, asked, query, first := engine.run(query))
    second = answer(engine, Kind.COMPLEMENTARY, "item-2", count=5, cursor=cursor)
    assert not set(first.rows.tolist()) & set(second.rows.tolist())
    with pytest.raises(Exception, match="belongs to another list"):
        answer(engine, Kind.SIMILAR, "item-2", count=5, cursor=cursor)


def test_a_new_item_asks_with_what_is_nearest_to_it_by_content(engine: Engine) -> None:
    after = engine.with_changes([ItemChange("1", ItemId("new"), {"genres": ["horror"]})], NOW_MS)
    outcome = answer(after, Kind.COMPLEMENTARY, "new", count=8)
    assert tastes(outcome) == [AFTER_HORROR] * 8
    assert outcome.degraded == ()
    assert tastes(answer(after, Kind.SIMILAR, "new", count=8)) == [HORROR] * 8


def test_an_item_that_nobody_met_asks_likewise_and_is_no_complement(engine: Engine) -> None:
    outcome = answer(engine, Kind.COMPLEMENTARY, f"item-{UNMET}", count=8)
    assert tastes(outcome) == [(UNMET + 1) % len(TASTES)] * 8
    before = next(row for row in range(ITEMS) if (row + 1) % len(TASTES) == UNMET % len(TASTES))
    everything = answer(engine, Kind.COMPLEMENTARY, f"item-{before}", count=60)
    found = {
        row
        for row, bits in zip(everything.rows, everything.columns["sources"], strict=True)
        if bits >> everything.source_names.index("complements") & 1
    }
    assert found
    assert UNMET not in found


def test_a_new_item_is_similar_to_items_of_its_kind(engine: Engine) -> None:
    after = engine.with_changes([ItemChange("1", ItemId("new"), {"genres": ["horror"]})], NOW_MS)
    assert ITEMS in answer(after, Kind.SIMILAR, "item-2", count=30).rows


def test_a_new_item_is_a_complement_of_what_its_kind_goes_with(engine: Engine) -> None:
    record = {"genres": ["horror"]}
    before_horror = (HORROR - 1) % len(TASTES)
    after = engine.with_changes([ItemChange("1", ItemId("new"), record)], NOW_MS)
    for request in ({}, {"filter": {"field": "genres", "op": "has", "value": "horror"}}):
        outcome = answer(after, Kind.COMPLEMENTARY, f"item-{before_horror}", count=60, **request)
        assert ITEMS in outcome.rows
        assert outcome.degraded == ()
        assert ITEMS not in answer(after, Kind.COMPLEMENTARY, "item-2", count=20).rows
    for gone in (None, {**record, "available": False}):
        hidden = after.with_changes([ItemChange("2", ItemId("new"), gone)], NOW_MS)
        assert ITEMS not in answer(hidden, Kind.COMPLEMENTARY, f"item-{before_horror}", count=60).rows


def test_a_changed_item_is_another_complement_and_compaction_keeps_the_right_one(engine: Engine) -> None:
    before_horror, before_drama = (HORROR - 1) % len(TASTES), (TASTES.index("drama") - 1) % len(TASTES)
    changes = [ItemChange(str(i), ItemId(f"n-{i}"), {"genres": ["western"]}) for i in range(3)]
    after = engine.with_changes(changes, NOW_MS)
    after = after.with_changes([ItemChange("3", ItemId("n-2"), {"genres": ["horror"]})], NOW_MS)
    after = after.with_changes([ItemChange("4", ItemId("n-0"), None)], NOW_MS)
    after = after.over(after.catalogue.compacted())
    row = int(after.catalogue.rows_of([ItemId("n-2")])[0])
    assert row == ITEMS + 1
    assert row in answer(after, Kind.COMPLEMENTARY, f"item-{before_horror}", count=60).rows
    drama = answer(after, Kind.COMPLEMENTARY, f"item-{before_drama}", count=20).rows
    assert not {ITEMS, ITEMS + 1} & set(drama.tolist())


def test_a_bundle_without_dual_vectors_answers_by_co_occurrence_and_says_so(tmp_path: Path) -> None:
    engine = Engine.build(Bundle.open(write_tiny_bundle(tmp_path)), NullObserver())
    outcome = answer(engine, Kind.COMPLEMENTARY, "item-2", count=5)
    near = engine.bundle.neighbours
    assert set(outcome.rows.tolist()) <= set(near.rows[2].tolist())
    assert len(outcome.rows) == 5
    assert outcome.degraded == ("complements",)
    assert answer(engine, Kind.SIMILAR, "item-2", count=5).degraded == ()


def test_weights_of_the_plan_decide_and_unknown_ones_are_refused(engine: Engine) -> None:
    plan = replace(engine.plan, complementary_weights={"alike": 1.0})
    other = Engine.build(engine.bundle, NullObserver(), plan=plan)
    outcome = answer(other, Kind.COMPLEMENTARY, "item-2", count=3)
    assert tastes(outcome) == [HORROR] * 3
    bad = replace(engine.plan, similar_weights={"cosinus": 1.0})
    with pytest.raises(
        OperatorError, match=r"plan\.similar_weights: there is no 'cosinus'; known are cosine"
    ):
        Engine.build(engine.bundle, NullObserver(), plan=bad)


def test_a_weighted_sum_stays_between_zero_and_one() -> None:
    terms = {"company": np.array([1, 0.5, 0.2], np.float32), "alike": np.array([0, 1, 1], np.float32)}
    assert weighed(terms, {"company": 2.0, "alike": -1.0}).tolist() == pytest.approx([1.0, 0.0, 0.0])
    assert Plan.from_json(Plan().to_json()).similar_weights == Plan().similar_weights


@pytest.mark.parametrize("name", [artifacts.COMPLEMENT_IN, artifacts.COMPLEMENT_OUT])
@pytest.mark.parametrize("shape", [(ITEMS, 5), (ITEMS - 1, 6)])
def test_vectors_that_do_not_fit_are_named(tmp_path: Path, name: str, shape: tuple[int, int]) -> None:
    folder = add_dual_vectors(write_tiny_bundle(tmp_path))
    np.save(folder / name, np.zeros(shape, np.float32))
    reseal(folder)
    with pytest.raises(BundleError, match=name):
        Bundle.open(folder)


def test_a_missing_half_is_named(tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path)
    build_index(np.zeros((ITEMS, 6), np.float32), IndexSettings("flat"), 1).save(
        folder / artifacts.COMPLEMENT_INDEX
    )
    reseal(folder)
    with pytest.raises(BundleError, match=artifacts.COMPLEMENT_IN):
        Bundle.open(folder)
