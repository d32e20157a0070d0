from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.cascade.candidates import Candidates
from service.cascade.cascade import Cascade
from service.cascade.query import Outcome, UserState
from service.cascade.round import Round
from service.cascade.selectors.best import AsTheyCame, Best
from service.errors import ContractViolation
from tests.support.queries import Hydrates, Keeps, Notes, Picks, Proposes, Scores, a_query

BY_ROW = Scores("score", lambda batch: batch.rows.astype(np.float32))


def cascade(**changes: Any) -> Cascade:
    plain = Cascade(
        name="test",
        hydrators=(),
        sources=(Proposes("a", (1, 2, 3, 4)), Proposes("b", (3, 4, 5, 6))),
        filters=(Keeps("odd", lambda rows: rows % 2 == 0),),
        rounds=(Round("rank", (BY_ROW,), Best("score"), None),),
        shares={"a": 0.5, "b": 0.5},
        observer=Notes(),
    )
    return replace(plain, **changes)


def notes(one: Cascade) -> Notes:
    assert isinstance(one.observer, Notes)
    return one.observer


def fails(*_: Any) -> Any:
    raise RuntimeError("broken")


def fates(outcome: Outcome) -> Counter[int]:
    return Counter(row for fate in outcome.fates for row in fate.rows.tolist())


def test_merges_filters_ranks_and_says_where_everything_went() -> None:
    outcome = cascade().run(a_query(count=2))

    assert outcome.rows.tolist() == [6, 4]
    assert outcome.columns["score"].tolist() == [6.0, 4.0]
    assert outcome.degraded == ()
    assert {(fate.stage, fate.reason): fate.rows.tolist() for fate in outcome.fates} == {
        ("filter", "odd"): [1, 3, 5],
        ("rank", "cut"): [2],
        ("answer", "returned"): [6, 4],
    }


def test_what_a_round_cuts_is_listed_from_the_best() -> None:
    outcome = cascade(filters=()).run(a_query(count=2))

    assert {fate.stage: fate.rows.tolist() for fate in outcome.fates} == {
        "rank": [4, 3, 2, 1],
        "answer": [6, 5],
    }


def test_source_bits_name_every_source_of_an_item() -> None:
    outcome = cascade().run(a_query())

    assert dict(zip(outcome.rows.tolist(), outcome.columns["sources"].tolist(), strict=True)) == {
        2: 0b01,
        4: 0b11,
        6: 0b10,
    }
    assert outcome.source_names == ("a", "b")


@settings(max_examples=60, deadline=None)
@given(
    proposals=st.lists(st.lists(st.integers(0, 40), unique=True, max_size=25), min_size=1, max_size=4),
    barred=st.sets(st.integers(0, 40)),
    hidden=st.sets(st.integers(0, 40)),
    scores=st.lists(st.floats(width=32), min_size=41, max_size=41),
    sizes=st.tuples(st.integers(1, 30), st.integers(1, 15)),
    broken=st.sets(st.sampled_from(["source0", "source1", "first", "second"])),
)
def test_every_candidate_is_accounted_for(
    proposals: list[list[int]],
    barred: set[int],
    hidden: set[int],
    scores: list[float],
    sizes: tuple[int, int],
    broken: set[str],
) -> None:
    table = np.array(scores, np.float32)
    names = [f"source{i}" for i in range(len(proposals))]
    sources = tuple(
        Proposes(name, tuple(rows), fails if name in broken else None)
        for name, rows in zip(names, proposals, strict=True)
    )
    first = Scores("first", fails if "first" in broken else lambda batch: table[batch.rows])
    second = Scores("second", fails if "second" in broken else lambda batch: -table[batch.rows])
    outcome = cascade(
        sources=sources,
        filters=(
            Keeps("barred", lambda rows: ~np.isin(rows, list(barred))),
            Keeps("hidden", lambda rows: ~np.isin(rows, list(hidden))),
        ),
        rounds=(
            Round("prerank", (first,), Best("first"), sizes[0]),
            Round("rank", (second,), Best("second"), None),
        ),
        shares=dict.fromkeys(names, 0.5),
    ).run(a_query(count=sizes[1]))

    fetched = {row for name, rows in zip(names, proposals, strict=True) if name not in broken for row in rows}
    assert fates(outcome) == Counter(dict.fromkeys(fetched, 1))
    assert len(outcome.rows) == min(sizes[1], len(fetched - barred - hidden))
    assert not set(outcome.rows.tolist()) & (barred | hidden)


def test_a_source_that_fails_is_left_out_and_named() -> None:
    one = cascade(sources=(Proposes("a", (2,)), Proposes("b", answer=fails)))
    outcome = one.run(a_query())

    assert outcome.rows.tolist() == [2]
    assert outcome.degraded == ("b",)
    assert notes(one).fallbacks == [("b", "failed")]
    assert ("source.b", 0, 0, True) in notes(one).stages


def test_no_source_at_all_is_an_empty_answer() -> None:
    outcome = cascade(sources=(Proposes("a", answer=fails), Proposes("b", answer=fails))).run(a_query())

    assert outcome.rows.tolist() == []
    assert outcome.degraded == ("a", "b")


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(fails, id="raises"),
        pytest.param(lambda batch: np.full(len(batch), np.nan, np.float32), id="all NaN"),
    ],
)
def test_a_ranker_that_fails_leaves_the_order_before_it(broken: Any) -> None:
    prerank = Round("prerank", (Scores("prerank", BY_ROW.of),), Best("prerank"), 10)
    rank = Round("rank", (Scores("rank", broken),), Best("rank"), None)
    outcome = cascade(filters=(), rounds=(prerank, rank)).run(a_query(count=3))

    assert outcome.rows.tolist() == [6, 5, 4]
    assert outcome.degraded == ("rank",)
    assert np.isnan(outcome.columns["rank"]).all()


def test_some_scores_that_are_not_finite_come_last_and_are_counted() -> None:
    odd = Scores("score", lambda batch: np.where(batch.rows == 6, np.nan, batch.rows).astype(np.float32))
    one = cascade(filters=(), rounds=(Round("rank", (odd,), Best("score"), None),))
    outcome = one.run(a_query())

    assert outcome.rows.tolist() == [5, 4, 3, 2, 1, 6]
    assert outcome.degraded == ()
    assert notes(one).nonfinite == {"score": 1}


def test_what_requires_a_failed_stage_is_left_out_but_only_the_root_is_named() -> None:
    one = cascade(
        hydrators=(Hydrates("user", fails),),
        sources=(Proposes("a", (1, 2)), Proposes("b", (3,), requires=("user",))),
        filters=(),
        rounds=(
            Round(
                "rank",
                (Scores("tower", BY_ROW.of, ("user",)), Scores("after", BY_ROW.of, ("tower",)), BY_ROW),
                Best("score"),
                None,
            ),
        ),
    )
    outcome = one.run(a_query())

    assert outcome.rows.tolist() == [2, 1]
    assert outcome.degraded == ("user",)
    assert notes(one).fallbacks == [
        ("user", "failed"),
        ("b", "input"),
        ("tower", "input"),
        ("after", "input"),
    ]


def test_a_hydrated_query_reaches_later_stages() -> None:
    vector = np.ones(3, np.float32)
    hydrator = Hydrates("user", lambda query: replace(query, state=UserState(vector=vector)))
    outcome = cascade(hydrators=(hydrator,)).run(a_query())

    assert outcome.state.vector is vector


def test_a_filter_that_fails_fails_the_request() -> None:
    one = cascade(filters=(Keeps("odd", fails),))
    with pytest.raises(RuntimeError, match="broken"):
        one.run(a_query())
    assert ("filter.odd", 6, 0, True) in notes(one).stages


def a_batch(rows: list[int], dtype: type = np.int32, **columns: Any) -> Candidates:
    return Candidates.of(np.array(rows, dtype), **columns)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param(
            {"filters": (Keeps("odd", lambda rows: rows[1:] > 0),)}, "bool \\[5\\], not bool", id="short mask"
        ),
        pytest.param(
            {"filters": (Keeps("odd", lambda rows: rows),)}, "int32 \\[6\\], not bool", id="mask of ints"
        ),
        pytest.param(
            {"rounds": (Round("r", (Scores("s", lambda b: np.zeros(1, np.float32)),), Best("s"), None),)},
            r"float32 \[1\], not float32 \[3\]",
            id="short scores",
        ),
        pytest.param(
            {"rounds": (Round("r", (Scores("s", lambda b: np.zeros(len(b))),), Best("s"), None),)},
            "float64",
            id="wide scores",
        ),
        pytest.param(
            {"rounds": (Round("r", (Scores("s", lambda b: [0.0] * len(b)),), Best("s"), None),)},
            "list",
            id="scores in a list",
        ),
        pytest.param(
            {"rounds": (Round("r", (), Picks("p", lambda b, n: np.arange(3)), 2),)}, "at most", id="too many"
        ),
        pytest.param(
            {"rounds": (Round("r", (), Picks("p", lambda b, n: np.array([0, 0])), 2),)}, "twice", id="twice"
        ),
        pytest.param(
            {"rounds": (Round("r", (), Picks("p", lambda b, n: np.array([3])), 2),)}, "outside", id="outside"
        ),
        pytest.param(
            {"rounds": (Round("r", (), Picks("p", lambda b, n: np.array([-1])), 2),)}, "outside", id="below"
        ),
        pytest.param(
            {"rounds": (Round("r", (), Picks("p", lambda b, n: np.array([True])), 2),)}, "bool", id="a mask"
        ),
        pytest.param({"sources": (Proposes("a", answer=lambda q: [1, 2]),)}, "list", id="rows in a list"),
        pytest.param(
            {"sources": (Proposes("a", answer=lambda q: a_batch([1, 2])),)}, "'score'", id="no score"
        ),
        pytest.param(
            {"sources": (Proposes("a", answer=lambda q: a_batch([1, 1], score=np.zeros(2, np.float32))),)},
            "twice",
            id="an item twice",
        ),
        pytest.param(
            {
                "sources": (
                    Proposes("a", answer=lambda q: a_batch([1], np.int64, score=np.zeros(1, np.float32))),
                )
            },
            "int64",
            id="wide rows",
        ),
        pytest.param({"hydrators": (Hydrates("h", lambda q: None),)}, "not a Query", id="no query"),
    ],
)
def test_a_breach_of_contract_is_never_called_degraded(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ContractViolation, match=says):
        cascade(**changes).run(a_query(count=2))


def test_past_the_deadline_the_cheap_answer_comes_in_time() -> None:
    now = iter(range(1000))
    one = cascade(
        hydrators=(Hydrates("user", lambda query: query),),
        filters=(),
        rounds=(Round("rank", (Scores("rank", fails, optional=True), BY_ROW), Best("score"), None),),
        clock=lambda: float(next(now)),
    )
    outcome = one.run(a_query(deadline=0.0))

    assert outcome.rows.tolist() == [4, 3, 2, 1]
    assert outcome.degraded == ("user", "b", "rank")
    assert {reason for _, reason in notes(one).fallbacks} == {"deadline"}


def test_a_selector_that_fails_leaves_the_order_before_it() -> None:
    outcome = cascade(filters=(), rounds=(Round("rank", (), Picks("best", fails), 2),)).run(a_query(count=2))

    assert outcome.rows.tolist() == [1, 3]
    assert outcome.degraded == ("best",)


def test_past_the_deadline_a_source_still_runs_while_there_is_no_candidate() -> None:
    one = cascade(
        sources=(Proposes("a"), Proposes("b", (2, 4)), Proposes("c", (6,))), shares=dict.fromkeys("abc", 1.0)
    )
    outcome = one.run(a_query(deadline=-1.0))

    assert sorted(outcome.rows.tolist()) == [2, 4]


def test_quality_scales_what_is_ranked_but_not_the_page() -> None:
    seen: list[int] = []
    count = Scores("count", lambda batch: seen.append(len(batch)) or np.zeros(len(batch), np.float32))
    one = cascade(
        sources=(Proposes("a", tuple(range(100))),),
        filters=(),
        rounds=(Round("prerank", (), AsTheyCame(), 80), Round("rank", (count,), Best("count"), None)),
    )
    one.run(a_query(count=20))
    one.run(a_query(count=20, quality=0.5))
    one.run(a_query(count=20, quality=0.01))

    assert seen == [80, 40, 20]


def test_the_observer_hears_of_every_stage() -> None:
    one = cascade()
    one.run(a_query(count=2))

    assert [entry[:3] for entry in notes(one).stages] == [
        ("source.a", 0, 4),
        ("source.b", 0, 4),
        ("merge.sources", 8, 6),
        ("filter.odd", 6, 3),
        ("score.score", 3, 3),
        ("select.best_score", 3, 2),
    ]
    assert notes(one).sources == {"a": (4, 2), "b": (4, 2)}
    assert notes(one).filtered == {"odd": 3}
    assert notes(one).answers == [(2, ())]


def test_a_trace_sees_what_each_step_lets_through() -> None:
    seen: dict[str, list[int]] = {}
    cascade().run(a_query(count=2), lambda name, batch: seen.update({name: batch.rows.tolist()}))

    assert {name: sorted(rows) for name, rows in seen.items()} == {
        "merge": [1, 2, 3, 4, 5, 6],
        "filter": [2, 4, 6],
        "rank.scored": [2, 4, 6],
        "rank": [4, 6],
    }
    assert list(seen) == ["merge", "filter", "rank.scored", "rank"]


def test_a_filter_that_has_nothing_to_rule_out_is_not_run() -> None:
    one = cascade(filters=(Keeps("idle", fails, idle=True), Keeps("even", lambda rows: rows % 2 == 0)))
    outcome = one.run(a_query())

    assert not any(fate.reason == "idle" for fate in outcome.fates)
    assert "filter.idle" not in outcome.timings_ms
    assert "filter.even" in outcome.timings_ms


def test_queries_that_take_turns_get_the_answers_that_they_get_alone() -> None:
    counts = (1, 2, 3, 5)
    alone = [cascade().run(a_query(count=count)) for count in counts]
    one = cascade()
    under_way = {count: one.steps(a_query(count=count)) for count in counts}
    found: dict[int, Outcome] = {}
    while under_way:
        for count, steps in list(under_way.items()):
            try:
                next(steps)
            except StopIteration as end:
                found[count] = end.value
                del under_way[count]
    for count, outcome in zip(counts, alone, strict=True):
        assert found[count].rows.tolist() == outcome.rows.tolist()
        assert fates(found[count]) == fates(outcome)
    assert len(notes(one).answers) == len(counts)


def test_a_pause_is_nobody_s_time() -> None:
    now = [0.0]

    def slow(batch: Candidates) -> Any:
        now[0] += 0.25
        return batch.rows.astype(np.float32)

    one = cascade(
        rounds=(Round("rank", (Scores("score", slow),), Best("score"), None),), clock=lambda: now[0]
    )
    steps = one.steps(a_query(count=2))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            timings = end.value.timings_ms
            break
        now[0] += 10.0
    assert timings["total"] == timings["score.score"] == pytest.approx(250.0)


def test_who_watches_hears_of_the_stages_of_a_query_that_failed() -> None:
    one = cascade(filters=(Keeps("broken", fails),))
    with pytest.raises(RuntimeError):
        one.run(a_query())
    assert ("filter.broken", 6, 0, True) in notes(one).stages
