from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.plan import Plan
from retrieval.interests import OWN, InterestModel, Interests
from retrieval.preferences import Preferences, majority
from tests.unit.retrieval.worlds import planted

WORLD = planted()
PLAN = Plan(interests=3, own_share=0.5, neighbours=10, kappa=5.0, smoothing="both")
MIXTURE = np.array([0.05, 0.4, 0.3, 0.0, 0.15, 0.1])


def chosen(preferences: Preferences, most: int = 3) -> dict[int, float]:
    clusters, shares = preferences.choose(MIXTURE, most)
    return dict(zip(clusters.tolist(), shares.tolist(), strict=True))


def test_without_preferences_the_largest_shares_stay_in_proportion() -> None:
    found = chosen(Preferences())
    assert list(found) == [1, 2, 4]
    assert found == pytest.approx({1: 0.4 / 0.85, 2: 0.3 / 0.85, 4: 0.15 / 0.85})


def test_a_muted_cluster_is_never_chosen_and_the_next_takes_its_place() -> None:
    assert list(chosen(Preferences.of(muted=[1]))) == [2, 4, 5]
    assert chosen(Preferences.of(muted=[0, 1, 2, 4, 5])) == {}


def test_a_pinned_cluster_has_its_least_share_and_the_rest_keep_their_proportions() -> None:
    found = chosen(Preferences.of(pinned=[0]))
    assert found == pytest.approx({1: 2 / 3 * 4 / 7, 0: 1 / 3, 2: 2 / 3 * 3 / 7})
    assert list(found) == [1, 0, 2]


def test_a_pin_that_is_large_already_changes_nothing() -> None:
    assert chosen(Preferences.of(pinned=[1])) == chosen(Preferences())


def test_a_pin_needs_no_share_of_its_own() -> None:
    assert chosen(Preferences.of(pinned=[3]))[3] == pytest.approx(1 / 3)
    nothing = np.zeros(6)
    clusters, shares = Preferences.of(pinned=[3, 5]).choose(nothing, 3)
    assert (clusters.tolist(), shares.tolist()) == ([3, 5], [0.5, 0.5])


def test_of_too_many_pins_the_latest_count_and_no_more_clusters_are_chosen() -> None:
    assert set(chosen(Preferences.of(pinned=[5, 0, 3, 4]))) == {5, 0, 3}


def test_muted_wins_over_pinned() -> None:
    assert 1 not in chosen(Preferences.of(pinned=[1], muted=[1]))


@pytest.mark.parametrize("seed", range(20))
def test_any_pins_and_mutes_keep_their_word(seed: int) -> None:
    chance = np.random.default_rng(seed)
    mixture = chance.dirichlet(np.full(12, 0.3)) * chance.choice([1.0, 1e-9])
    order = chance.permutation(12)
    pinned, muted = order[: chance.integers(0, 5)], order[5 : 5 + chance.integers(0, 8)]
    clusters, shares = Preferences.of(pinned.tolist(), muted.tolist()).choose(mixture, 4)
    assert len(set(clusters.tolist())) == len(clusters) <= 4
    assert not set(clusters.tolist()) & set(muted.tolist())
    assert set(pinned.tolist()) <= set(clusters.tolist())
    assert shares.sum() == pytest.approx(1)
    assert (shares[np.isin(clusters, pinned)] >= 0.25 - 1e-9).all()
    assert (np.diff(shares) <= 1e-7).all()


@pytest.mark.parametrize(
    ("clusters", "expected"),
    [([], -1), ([-1, -1], -1), ([-1, 4], 4), ([2, 3, 3], 3), ([3, 2, 2, 3], 3), ([2, -1, 3, 2, 3], 2)],
)
def test_most_anchors_decide_and_the_newest_where_they_tie(clusters: list[int], expected: int) -> None:
    assert majority(np.array(clusters, np.int32)) == expected


def interests(preferences: Preferences, rows: list[int], **changes: Any) -> Interests:
    plan = replace(PLAN, kappa=1.0, **changes)
    model = InterestModel(
        WORLD.items, WORLD.clusters.centroids, WORLD.clusters.assignment, WORLD.snapshot(), plan
    )
    events = np.array(rows, np.int32)
    ones = np.ones(len(events), np.float32)
    return model.interests(None, events, ones, 0 * ones, preferences=preferences)


def test_the_mixture_obeys() -> None:
    assignment = WORLD.clusters.assignment
    liked, other, far = (int(assignment[row]) for row in (2, 3, 6))
    plain = interests(Preferences(), [2, 10, 3])
    assert plain.clusters.tolist()[:3] == [OWN, liked, other]
    assert far not in plain.clusters

    found = interests(Preferences.of(pinned=[far], muted=[liked]), [2, 10, 3])
    assert liked not in found.clusters
    place = found.clusters.tolist().index(far)
    assert found.weights[place] >= 0.5 / 3 - 1e-6
    assert found.slots(60)[place] >= 10
    assert found.weights.sum() == pytest.approx(1)
    assert found.slots(60).sum() == 60
    # Nobody's events: the query of the pin points to its cluster all the same.
    assert (WORLD.clusters.centroids @ found.queries[place, :-1]).argmax() in (far, other)


def test_each_interest_says_how_much_of_it_is_the_users_own() -> None:
    far = int(WORLD.clusters.assignment[6])
    found = interests(Preferences.of(pinned=[far]), [2, 10, 3])
    parts = dict(zip(found.clusters.tolist(), found.own_parts.tolist(), strict=True))
    assert parts[OWN] == pytest.approx(0.75)
    assert 0.7 < parts[int(WORLD.clusters.assignment[2])] < 1
    assert parts[far] == 0
    assert not interests(Preferences(), []).own_parts.any()


def test_all_muted_leaves_the_own_vector() -> None:
    found = interests(Preferences.of(muted=list(range(8))), [2])
    assert found.clusters.tolist() == [OWN]
    assert found.slots(60).tolist() == [60]


def test_who_muted_all_that_he_met_gets_what_similar_users_like() -> None:
    muted = np.unique(WORLD.clusters.assignment[np.array([2, 10], np.int32)]).tolist()
    found = interests(Preferences.of(muted=muted), [2, 10], smoothing="none")
    assert len(found) > 1
    assert not set(muted) & set(found.clusters.tolist())
    assert found.own_parts[0] == 0
    assert interests(Preferences(), [2, 10], smoothing="none").own_parts[0] == 1
