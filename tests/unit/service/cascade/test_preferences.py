"""What is kept of a pin or a mute finds its interest in this bundle, and every stage obeys."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from retrieval.interests import OWN, Interests
from retrieval.preferences import Preferences
from service.bundle import Bundle
from service.cascade.candidates import Candidates
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.preferences import clusters_of, resolve
from service.cascade.query import ItemId, Kind, Query, Request, UserState
from service.cascade.selectors.best import Best
from service.cascade.selectors.pinned import WithPinned
from service.cascade.sources.interests import InterestSearch
from service.engine import Engine
from service.features.store import ItemChange, Preference, PreferenceKind, UserRecord
from tests.support.queries import a_query
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import ITEMS, NOW_MS


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    bundle = Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles")))
    return Engine.build(bundle, NullObserver())


def wish(kind: str, at: int, *rows: int | str) -> Preference:
    anchors = [ItemId(row if isinstance(row, str) else f"item-{row}") for row in rows]
    return Preference(f"old-{at}", PreferenceKind(kind), at, anchors)


def of_cluster(engine: Engine, cluster: int) -> list[int]:
    return [int(row) for row in np.flatnonzero(engine.bundle.assignment == cluster)]


def test_most_anchors_decide_which_interest_is_meant(engine: Engine) -> None:
    one, two = of_cluster(engine, 1), of_cluster(engine, 2)
    wishes = [wish("mute", 1, *two[:2], *one[:3]), wish("pin", 2, "gone", *two[:1]), wish("pin", 3, "gone")]
    assert clusters_of(wishes, engine.catalogue) == [1, 2, -1]
    found = resolve(wishes, engine.catalogue)
    assert (found.pinned.tolist(), found.muted.tolist()) == ([2], [1])


def test_of_two_wishes_for_one_interest_the_newer_counts(engine: Engine) -> None:
    rows = of_cluster(engine, 1)
    found = resolve([wish("pin", 1, rows[0]), wish("mute", 2, rows[1])], engine.catalogue)
    assert (found.pinned.tolist(), found.muted.tolist()) == ([], [1])


def test_the_latest_pins_come_first(engine: Engine) -> None:
    wishes = [wish("pin", at, of_cluster(engine, cluster)[0]) for at, cluster in enumerate((3, 0, 2))]
    assert resolve(wishes, engine.catalogue).pinned.tolist() == [2, 0, 3]
    assert len(resolve([], engine.catalogue).pinned) == 0


def test_new_items_belong_to_the_nearest_interest_and_deleted_ones_to_theirs(engine: Engine) -> None:
    horror = {"genres": ["horror"], "title": "The horror of tomorrow"}
    after = engine.with_changes(
        [ItemChange("1", ItemId("new"), horror), ItemChange("2", ItemId("item-2"), None)], NOW_MS
    )
    rows = np.array([ITEMS, 2, -1, 6], np.int32)
    clusters = after.catalogue.clusters_of(rows)
    assert clusters[0] == clusters[1] == clusters[3] == engine.bundle.assignment[2]
    assert clusters[2] == -1
    assert clusters.dtype == np.int32


def hydrated(engine: Engine, *wishes: Preference, **request: Any) -> Query:
    liked = [ItemId(f"item-{row}") for row in (2, 6, 10, 14)]
    record = UserRecord({}, liked, ["like"] * 4, [NOW_MS - 5 + n for n in range(4)], True, wishes)
    query = engine.hydrate(Request(**request), record, Moment("r", NOW_MS))
    return engine.know(query)


@pytest.mark.parametrize(
    ("request_", "hides"),
    [
        ({}, True),
        ({"kind": Kind.SEARCH, "text": " "}, True),
        ({"kind": Kind.SEARCH, "text": "horror"}, False),
        ({"kind": Kind.SIMILAR, "item_id": ItemId("item-2")}, False),
    ],
)
def test_only_recommendations_hide_what_is_muted(
    engine: Engine, request_: dict[str, Any], hides: bool
) -> None:
    query = hydrated(engine, wish("mute", 1, 2, 6), **request_)
    assert query.preferences.muted.tolist() == [engine.bundle.assignment[2]]
    assert query.hides_muted is hides
    rows = engine.run(query).rows
    assert bool(np.isin(engine.catalogue.clusters_of(rows), query.preferences.muted).any()) is not hides


def test_every_muted_candidate_is_accounted_for(engine: Engine) -> None:
    muted = wish("mute", 1, 2, 6)
    outcome = engine.run(hydrated(engine, muted, count=20))
    gone = [fate for fate in outcome.fates if fate.reason == "muted"]
    returned = engine.catalogue.clusters_of(outcome.rows)
    assert len(outcome.rows) == 20
    assert engine.bundle.assignment[2] not in returned
    # The sources know, and propose none: the filter is only the authority.
    assert gone == []


@pytest.mark.parametrize("size", [1, 3, 10, 20])
def test_the_search_looks_deeper_where_what_is_muted_fills_it(engine: Engine, size: int) -> None:
    source = InterestSearch(engine.bundle.index, engine.catalogue, size)
    plain, muted = hydrated(engine), hydrated(engine, wish("mute", 1, 2, 6))
    assert muted.state.interests is not None
    assert plain.state.interests is not None
    first = np.argsort(-(engine.bundle.item_vectors @ plain.state.interests.queries[0]))[:20]
    assert (engine.bundle.assignment[first] == engine.bundle.assignment[2]).mean() > 0.8
    batch = source.fetch(muted)
    assert len(batch) >= size
    assert engine.bundle.assignment[2] not in engine.bundle.assignment[batch.rows]


CATALOGUE: Any = SimpleNamespace(clusters_of=lambda rows: (rows // 10).astype(np.int32))
"""Ten items in each cluster."""


def mixture(**weights: float) -> Interests:
    clusters = np.array([OWN, *(int(name[1:]) for name in weights)], np.int32)
    shares = np.array([0.5, *weights.values()], np.float32)
    return Interests(clusters, shares, np.zeros((len(shares), 1), np.float32))


def picked(size: int, pinned: list[int], interests: Interests | None, scores: Any = None) -> list[int]:
    rows = np.arange(40, dtype=np.int32)
    column = np.arange(40, 0, -1, dtype=np.float32) if scores is None else scores
    query = a_query(preferences=Preferences.of(pinned=pinned), state=UserState(interests=interests))
    selector = WithPinned(Best("score"), "score", CATALOGUE)
    assert selector.name == "best_score"
    found = selector.pick(query, Candidates.of(rows, score=column), size).tolist()
    assert len(found) == len(set(found)) == min(size, 40)
    return found


def test_without_pins_the_inner_order_stays() -> None:
    assert picked(8, [], mixture(c3=0.5)) == list(range(8))
    assert picked(8, [3], None) == list(range(8))
    assert picked(8, [2], mixture(c3=0.5)) == list(range(8))


def test_a_pinned_interest_holds_its_share_by_its_best_items() -> None:
    assert picked(8, [3], mixture(c3=0.25)) == [0, 1, 2, 3, 4, 5, 30, 31]
    assert picked(8, [3], mixture(c3=0.01)) == [0, 1, 2, 3, 4, 5, 6, 30]


def test_what_is_there_already_is_not_doubled_nor_pushed_out() -> None:
    assert picked(12, [1], mixture(c1=0.25)) == [*range(9), 10, 11, 12]
    assert picked(12, [0], mixture(c0=0.25)) == list(range(12))


def test_several_pins_share_at_most_half_the_latest_first() -> None:
    assert picked(4, [3, 2, 1], mixture(c1=0.1, c2=0.1, c3=0.1)) == [0, 1, 20, 30]
    assert picked(1, [3], mixture(c3=0.5)) == [0]


def test_a_pin_without_candidates_takes_no_place() -> None:
    assert picked(8, [7], mixture(c7=0.5)) == list(range(8))


def test_scores_that_are_no_numbers_come_last_among_the_pinned_too() -> None:
    scores = np.arange(40, 0, -1, dtype=np.float32)
    scores[30] = np.nan
    assert picked(8, [3], mixture(c3=0.2), scores) == [*range(7), 31]


def test_all_candidates_are_kept_as_they_are() -> None:
    assert picked(60, [3], mixture(c3=0.5)) == list(range(40))
