import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.index import IndexSettings, build_index
from retrieval.interests import OWN, Interests
from retrieval.search import retrieve

ITEMS = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
INDEX = build_index(ITEMS, IndexSettings("flat"), seed=0)


def interests(queries, slots) -> Interests:
    shares = np.array(slots, np.float32)
    return Interests(np.arange(OWN, len(slots) - 1, dtype=np.int32), shares, np.asarray(queries, np.float32))


def found_by(queries, slots):
    return retrieve(INDEX, interests(queries, slots), sum(slots))


def queries(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(0, 50))
def test_as_many_distinct_items_as_slots_best_first(slots, seed):
    found = found_by(queries(len(slots), seed), slots)
    assert len(found.rows) == min(sum(slots), 200)
    assert len(set(found.rows.tolist())) == len(found.rows)
    assert (np.diff(found.scores) <= 0).all()


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(0, 50))
def test_every_interest_keeps_its_slots_and_scores_are_the_best_query(slots, seed):
    asked = queries(len(slots), seed)
    found = found_by(asked, slots)
    for query, share in zip(asked, slots, strict=True):
        best = np.argsort(-(ITEMS @ query))[:share]
        assert set(best.tolist()) <= set(found.rows.tolist())
    reachable = ITEMS[found.rows] @ asked.T
    assert (found.scores <= reachable.max(axis=1) + 1e-5).all()
    brought = reachable[np.arange(len(found.rows)), found.interest]
    assert (found.scores >= brought - 1e-5).all()


def test_an_item_is_named_after_a_cluster_that_has_it_rather_than_after_the_own_vector():
    asked = queries(3)
    asked[1] = asked[0]
    found = found_by(asked, [40, 10, 5])
    named = dict(zip(found.rows.tolist(), found.interest.tolist(), strict=True))
    by_own = np.argsort(-(ITEMS @ asked[0])).tolist()
    other = np.argsort(-(ITEMS @ asked[2])).tolist()
    assert {named[row] for row in by_own[:10] if row not in other[:5]} == {1}
    assert {named[row] for row in by_own[10:20] if row not in other[:5]} == {0}
    assert named[other[0]] == 2


def test_equal_queries_are_backfilled_by_a_deeper_search():
    asked = np.repeat(queries(1), 4, axis=0)
    found = found_by(asked, [10, 10, 10, 10])
    assert found.rows.tolist() == np.argsort(-(ITEMS @ asked[0]))[:40].tolist()


def test_an_interest_without_slots_is_not_asked():
    asked = queries(3)
    asked[1] = np.nan
    found = found_by(asked, [5, 0, 5])
    assert set(found.interest.tolist()) == {0, 2}


def test_more_slots_than_items_give_every_item_once():
    assert sorted(found_by(queries(2), [500, 500]).rows) == list(range(200))


def test_no_slots_no_items():
    assert len(found_by(queries(2), [0, 0]).rows) == 0


def test_a_query_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        found_by(np.full((1, 5), np.nan), [5])
