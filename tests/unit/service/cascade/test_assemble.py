"""The assembled cascades over a small but real bundle."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest

from models.encode import CROSS
from models.graph import Graph
from models.plan import Plan
from ranking.calibration import Calibration
from service.bundle import Bundle
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import ItemId, Kind, Outcome, Request, SessionEvent, UserId
from service.engine import Engine
from service.errors import ContractViolation, OperatorError
from service.features.store import ItemChange
from tests.support.queries import Notes, cursor_after
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import ITEMS, NOW_MS, TASTES

HORROR = TASTES.index("horror")
LIKES_HORROR = tuple(
    SessionEvent(ItemId(f"item-{row}"), "like", NOW_MS - 60_000 * (20 - i))
    for i, row in enumerate((2, 6, 10, 14, 18))
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles")))


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Engine:
    return Engine.build(bundle, NullObserver())


def answer(engine: Engine, **request: Any) -> Outcome:
    return engine.run(engine.hydrate(Request(**request), None, Moment("r-1", NOW_MS)))


def tastes(outcome: Outcome) -> list[int]:
    return [row % len(TASTES) for row in outcome.rows.tolist() if row < ITEMS]


def item(engine: Engine, outcome: Outcome) -> list[str]:
    return list(engine.catalogue.ids_of(outcome.rows))


def test_a_list_suits_what_the_user_did_a_moment_ago(engine: Engine) -> None:
    outcome = answer(engine, session=LIKES_HORROR, count=10)

    assert Counter(tastes(outcome)).most_common(1)[0][0] == HORROR
    assert tastes(outcome).count(HORROR) >= 9
    assert not set(outcome.rows.tolist()) & {2, 6, 10, 14, 18}
    assert outcome.degraded == ()


def test_an_answer_has_every_column(engine: Engine) -> None:
    outcome = answer(engine, session=LIKES_HORROR)
    columns = outcome.columns

    assert {"score", "pctr", "rank", "sources", "interest_index", *CROSS} <= set(columns)
    assert all(len(column) == len(outcome.rows) == 20 for column in columns.values())
    assert (np.diff(columns["score"]) <= 0).all()
    assert ((columns["pctr"] > 0) & (columns["pctr"] < 1)).all()
    assert (columns["sources"] > 0).all()
    assert outcome.state.interests is not None
    assert columns["interest_index"].max() < len(outcome.state.interests)


def test_every_candidate_is_accounted_for(engine: Engine) -> None:
    seen: dict[str, list[int]] = {}
    query = engine.hydrate(
        Request(session=LIKES_HORROR, exclude_items=[ItemId("item-22")]), None, Moment("r-1", NOW_MS)
    )
    outcome = engine.run(query, lambda name, batch: seen.update({name: batch.rows.tolist()}))
    ended = Counter(row for fate in outcome.fates for row in fate.rows.tolist())

    assert set(ended.values()) == {1}
    assert set(seen["filter"]) <= set(ended)
    assert len(seen["retrieve"]) <= 60
    assert len(seen["prerank"]) == 30
    assert seen["diversity"] == outcome.rows.tolist()


def at_depth(engine: Engine, depth: Literal["retrieve", "prerank", "rank"]) -> Engine:
    return Engine.build(engine.bundle, NullObserver(), plan=replace(engine.plan, depth=depth))


KINDS: list[dict[str, Any]] = [
    {},
    {"kind": Kind.SEARCH, "text": "horror"},
    {"kind": Kind.SIMILAR, "item_id": ItemId("item-2")},
]


@pytest.mark.parametrize("request_", KINDS)
def test_a_shallow_plan_leaves_the_models_behind_it_alone(engine: Engine, request_: dict[str, Any]) -> None:
    for depth, ran in (("retrieve", set()), ("prerank", {"prerank"}), ("rank", {"prerank", "rank", "pctr"})):
        outcome = answer(at_depth(engine, depth), session=LIKES_HORROR, count=10, **request_)
        assert set(outcome.columns) & {"prerank", "rank", "pctr"} == ran
        assert (outcome.degraded, len(outcome.rows)) == ((), 10)
        assert (np.diff(outcome.columns["score"]) <= 0).all()
        ended = Counter(row for fate in outcome.fates for row in fate.rows.tolist())
        assert set(ended.values()) == {1}


def test_retrieval_alone_answers_in_the_order_of_its_search(engine: Engine) -> None:
    plan = replace(engine.plan, depth="retrieve", quotas={"interests": 1.0}, interests=0, own_share=1.0)
    alone = Engine.build(engine.bundle, NullObserver(), plan=plan)
    outcome = answer(alone, session=LIKES_HORROR, count=10)
    assert outcome.state.vector is not None
    scores = engine.bundle.item_vectors @ outcome.state.vector
    scores[[2, 6, 10, 14, 18]] = -np.inf
    scores[~engine.bundle.available] = -np.inf

    assert outcome.rows.tolist() == np.argsort(-scores, kind="stable")[:10].tolist()
    np.testing.assert_allclose(outcome.columns["score"], 1 / np.arange(1, 11), rtol=1e-6)


def test_a_boost_works_without_a_ranker(engine: Engine) -> None:
    boost = [{"filter": {"field": "genres", "op": "has", "value": "comedy"}, "factor": 100.0}]
    for depth in ("retrieve", "prerank"):
        shallow = at_depth(engine, depth)
        assert tastes(answer(shallow, session=LIKES_HORROR, count=5))[0] == HORROR
        assert tastes(answer(shallow, session=LIKES_HORROR, count=5, boost=boost))[0] == TASTES.index(
            "comedy"
        )


def test_cross_features_are_what_they_say(bundle: Bundle, engine: Engine) -> None:
    outcome = answer(engine, session=LIKES_HORROR)
    rows, columns, state = outcome.rows, outcome.columns, outcome.state
    vectors = bundle.item_vectors[rows]
    assert state.vector is not None
    assert state.interests is not None
    weights = bundle.plan.similar_decay ** np.arange(5, dtype=np.float32)
    history = np.array([18, 14, 10, 6, 2], np.int32)

    np.testing.assert_allclose(columns["tower"], vectors @ state.vector, rtol=1e-5)
    np.testing.assert_allclose(
        columns["interest"], (vectors @ state.interests.queries[1:].T).max(axis=1), rtol=1e-5
    )
    np.testing.assert_allclose(columns["popular"], np.log1p(bundle.popularity[0][rows]), rtol=1e-6)
    dense = bundle.neighbours.score_all(history[None], weights[None])[0]
    np.testing.assert_allclose(columns["similar"], dense[rows], rtol=1e-5)


def test_nobody_gets_an_answer_from_popular_fresh_and_the_mean_of_all(engine: Engine) -> None:
    outcome = answer(engine, user_id=UserId("never seen"))
    by_source = {
        name: int((outcome.columns["sources"] >> bit & 1).sum())
        for bit, name in enumerate(outcome.source_names)
    }
    assert len(outcome.rows) == 20
    assert outcome.degraded == ()
    assert by_source["popular"] > 0
    assert by_source["interests"] > 0
    assert len(set(tastes(outcome))) > 1


def test_a_placement_has_its_own_popular_items(engine: Engine) -> None:
    seen: dict[str, list[int]] = {}
    plan = replace(engine.plan, quotas={"popular": 0.1})
    only_popular = Engine.build(engine.bundle, NullObserver(), plan=plan)
    query = only_popular.hydrate(Request(placement="home"), None, Moment("r", NOW_MS))
    only_popular.run(query, lambda name, batch: seen.update({name: batch.rows.tolist()}))

    assert {row % len(TASTES) for row in seen["filter"]} == {HORROR}


@pytest.mark.parametrize("share", [5, 100])
def test_a_rule_holds_and_still_fills_the_page(engine: Engine, share: int) -> None:
    rule = {"field": "year", "op": "<", "value": 1970 + share // 3}
    outcome = answer(engine, session=LIKES_HORROR, filter=rule, count=5)

    assert all(engine.catalogue.record_of(row)["year"] < 1970 + share // 3 for row in outcome.rows.tolist())  # type: ignore[index]
    assert len(outcome.rows) == {5: 2, 100: 5}[share]


def test_hidden_excluded_and_seen_items_do_not_return(engine: Engine) -> None:
    outcome = answer(
        engine, session=LIKES_HORROR, exclude_items=[ItemId("item-22"), ItemId("item-26")], count=100
    )
    assert not set(outcome.rows.tolist()) & {7, 22, 26, 2, 6, 10, 14, 18}
    again = answer(engine, session=LIKES_HORROR, include_seen=True, count=100)
    assert set(again.rows.tolist()) & {2, 6, 10, 14, 18}


def test_a_boost_lifts_and_a_low_factor_sinks(engine: Engine) -> None:
    comedy = {"field": "genres", "op": "has", "value": "comedy"}
    lifted = answer(engine, session=LIKES_HORROR, boost=[{"filter": comedy, "factor": 100.0}], count=5)
    plain = answer(engine, session=LIKES_HORROR, count=5)

    assert tastes(lifted).count(0) > tastes(plain).count(0)
    np.testing.assert_array_less(lifted.columns["pctr"][np.array(tastes(lifted)) == 0], 1.0)


def test_diversity_mixes_the_page(engine: Engine) -> None:
    plain, mixed = (answer(engine, session=LIKES_HORROR, count=10, diversity=knob) for knob in (0.0, 0.9))

    assert len(set(tastes(mixed))) > len(set(tastes(plain)))


def test_pages_never_repeat_whatever_the_user_does_in_between(engine: Engine) -> None:
    shown: list[str] = []
    cursor = None
    session = LIKES_HORROR
    for page in range(4):
        request = Request(session=session, count=8, cursor=cursor)
        query = engine.hydrate(request, None, Moment(f"r-{page}", NOW_MS))
        outcome = engine.run(query)
        assert query.offset == len(shown)
        shown += item(engine, outcome)
        cursor = cursor_after(engine, request, query, outcome)
        session = (*session, SessionEvent(ItemId(f"item-{page}"), "view"))
        assert len(outcome.rows) == 8
    assert len(set(shown)) == 32


def test_a_list_ends_when_the_catalogue_does(engine: Engine) -> None:
    cursor, shown = None, 0
    for _ in range(20):
        request = Request(count=10, cursor=cursor)
        query = engine.hydrate(request, None, Moment("r", NOW_MS))
        outcome = engine.run(query)
        shown += len(outcome.rows)
        cursor = cursor_after(engine, request, query, outcome)
        if cursor is None:
            break
    assert cursor is None
    assert shown == ITEMS - 1


def test_a_list_ends_at_the_limit_of_a_cursor(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.LIMIT", 20)
    first = Request(count=10)
    query = engine.hydrate(first, None, Moment("r", NOW_MS))
    cursor = cursor_after(engine, first, query, engine.run(query))
    second = Request(count=10, cursor=cursor)
    query = engine.hydrate(second, None, Moment("r", NOW_MS))

    assert cursor is not None
    assert cursor_after(engine, second, query, engine.run(query)) is None


def new_item(engine: Engine, item_id: str = "new", **record: Any) -> Engine:
    whole = {"title": "A brand new fright", "genres": ["horror"], **record}
    return engine.with_changes([ItemChange("1", ItemId(item_id), whole)], NOW_MS)


def found_by(engine: Engine, outcome: Outcome, item_id: str) -> set[str]:
    bits = int(outcome.columns["sources"][item(engine, outcome).index(item_id)])
    return {name for bit, name in enumerate(outcome.source_names) if bits >> bit & 1}


def test_a_new_item_is_found_on_every_path_at_once(engine: Engine) -> None:
    after = new_item(engine)

    assert {"fresh", "interests"} <= found_by(after, answer(after, session=LIKES_HORROR), "new")
    assert item(after, answer(after, kind=Kind.SEARCH, text="brand fright"))[0] == "new"
    assert "new" in item(after, answer(after, kind=Kind.SIMILAR, item_id=ItemId("item-2"), count=30))


def test_a_new_item_may_be_the_anchor_and_an_event(engine: Engine) -> None:
    after = new_item(engine)
    alike = answer(after, kind=Kind.SIMILAR, item_id=ItemId("new"), count=5)
    after_click = answer(after, session=(SessionEvent(ItemId("new"), "like"),), count=5)

    assert alike.degraded == after_click.degraded == ()
    assert set(tastes(alike)) == {HORROR}
    assert "new" not in item(after, alike)
    assert tastes(after_click).count(HORROR) >= 4
    assert "new" not in item(after, after_click)


def test_a_deleted_item_is_gone_on_every_path(engine: Engine) -> None:
    best = item(engine, answer(engine, session=LIKES_HORROR))[0]
    after = engine.with_changes([ItemChange("1", ItemId(best), None)], NOW_MS)

    assert best not in item(after, answer(after, session=LIKES_HORROR, count=100))
    assert best not in item(after, answer(after, kind=Kind.SEARCH, text="horror", count=100))
    assert best not in item(after, answer(after, kind=Kind.SIMILAR, item_id=ItemId("item-2"), count=100))


def test_a_search_finds_words_and_puts_first_what_suits(engine: Engine) -> None:
    outcome = answer(engine, kind=Kind.SEARCH, text="Horror number 42", session=LIKES_HORROR)
    assert item(engine, outcome)[0] == "item-42"
    assert outcome.columns["pctr"].shape == outcome.rows.shape

    number = {"kind": Kind.SEARCH, "text": "number", "count": 10}
    assert tastes(answer(engine, **number, session=LIKES_HORROR)).count(HORROR) > 5


def test_a_search_for_nothing_that_exists_is_empty(engine: Engine) -> None:
    outcome = answer(engine, kind=Kind.SEARCH, text="qqqqqqqq")

    assert len(outcome.rows) == 0
    assert outcome.degraded == ()
    assert "score" in outcome.columns


def test_a_changed_title_is_searched_by_its_new_words(engine: Engine) -> None:
    after = engine.with_changes([ItemChange("1", ItemId("item-2"), {"title": "Zebra crossing"})], NOW_MS)

    assert item(after, answer(after, kind=Kind.SEARCH, text="zebra")) == ["item-2"]
    assert "item-2" not in item(after, answer(after, kind=Kind.SEARCH, text="horror", count=100))


def test_similar_items_are_alike_and_not_the_item_itself(engine: Engine) -> None:
    outcome = answer(engine, kind=Kind.SIMILAR, item_id=ItemId("item-2"), count=10)

    assert tastes(outcome).count(HORROR) >= 9
    assert 2 not in outcome.rows
    assert outcome.degraded == ()


def broken(bundle: Bundle, part: str, answer_with: float | None = None) -> Engine:
    """An engine whose graph `part` raises, or answers with one number everywhere."""
    graph = getattr(bundle, part)

    class Broken(Graph):
        def __init__(self) -> None:
            self.inputs, self.outputs = graph.inputs, graph.outputs

        def run(self, **inputs: Any) -> Any:
            if answer_with is None:
                raise RuntimeError("broken")
            return np.full_like(graph.run(**inputs), answer_with)

    return Engine.build(replace(bundle, **{part: Broken()}), Notes())


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_ranker_that_fails_leaves_the_preranked_order(bundle: Bundle, value: float | None) -> None:
    outcome = answer(broken(bundle, "ranker", value), session=LIKES_HORROR)

    assert outcome.degraded == ("rank",)
    assert len(outcome.rows) == 20
    assert (np.diff(outcome.columns["prerank"]) <= 0).all()
    assert np.isnan(outcome.columns["pctr"]).all()
    assert np.isfinite(outcome.columns["score"]).all()


def test_a_preranker_that_fails_still_ranks(bundle: Bundle) -> None:
    outcome = answer(broken(bundle, "preranker"), session=LIKES_HORROR)

    assert outcome.degraded == ("prerank",)
    assert np.isfinite(outcome.columns["rank"]).all()
    assert tastes(outcome).count(HORROR) >= 10


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_user_tower_that_fails_still_answers(bundle: Bundle, value: float | None) -> None:
    outcome = answer(broken(bundle, "user_tower", value), session=LIKES_HORROR)

    assert "user_tower" in outcome.degraded
    assert len(outcome.rows) == 20
    assert np.isfinite(outcome.columns["score"]).all()


def test_everything_that_can_fail_fails_and_the_popular_items_come(bundle: Bundle) -> None:
    engine = broken(bundle, "user_tower")
    for part in ("preranker", "ranker"):
        engine = broken(engine.bundle, part)
    no_index: Any = object()
    engine = Engine.build(replace(engine.bundle, index=no_index, lexical=no_index), NullObserver())
    outcome = answer(engine)

    assert set(outcome.degraded) == {"user_tower", "interests", "prerank", "rank"}
    assert len(outcome.rows) > 0
    assert outcome.columns["popular"][0] > 0


def test_past_the_deadline_popular_items_come_labelled(engine: Engine) -> None:
    query = engine.hydrate(Request(session=LIKES_HORROR), None, Moment("r", NOW_MS, deadline=-1.0))
    outcome = engine.run(query)

    assert len(outcome.rows) > 0
    assert set(outcome.degraded) >= {"user_tower", "user_interests", "similar", "prerank", "rank"}
    assert np.isfinite(outcome.columns["score"]).all()
    assert (outcome.columns["popular"] > 0).all()


def test_quality_ranks_fewer(engine: Engine) -> None:
    for quality, ranked in ((1.0, 30), (0.5, 15)):
        seen: dict[str, int] = {}
        query = engine.hydrate(Request(count=5), None, Moment("r", NOW_MS, quality=quality))
        engine.run(query, lambda name, batch, seen=seen: seen.update({name: len(batch)}))  # type: ignore[misc]
        assert seen["prerank"] == ranked


def test_a_quota_for_no_source_is_refused(bundle: Bundle) -> None:
    with pytest.raises(OperatorError, match="magic"):
        Engine.build(bundle, NullObserver(), plan=Plan(quotas={"magic": 1.0}))


def test_a_source_without_quota_is_left_out(bundle: Bundle) -> None:
    engine = Engine.build(bundle, NullObserver(), plan=Plan(quotas={"popular": 1.0, "fresh": 0.0}))

    assert engine.cascades[Kind.RECOMMEND].source_names == ("popular",)


def test_a_calibrator_of_the_wrong_length_is_a_breach(bundle: Bundle) -> None:
    short = Calibration(lambda logits: logits[1:])  # type: ignore[arg-type]
    with pytest.raises(ContractViolation, match="pctr"):
        answer(Engine.build(replace(bundle, calibrator=short), NullObserver()))


def test_the_same_query_has_the_same_answer(engine: Engine) -> None:
    one, other = (answer(engine, session=LIKES_HORROR) for _ in range(2))

    assert one.rows.tolist() == other.rows.tolist()
    assert one.columns["score"].tolist() == other.columns["score"].tolist()
