from dataclasses import replace

import numpy as np
import pytest

from models.plan import Plan
from retrieval.clusters import unit
from retrieval.interests import OWN, InterestModel
from retrieval.snapshot import Snapshot
from tests.unit.retrieval.worlds import TASTES, planted

WORLD = planted()
PLAN = Plan(interests=3, own_share=0.5, query_blend=0.5, neighbours=10, kappa=5.0, tau_days=30.0)
NOTHING = np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.float32)


def model(plan: Plan = PLAN, snapshot: Snapshot | None = None) -> InterestModel:
    table = WORLD.snapshot() if snapshot is None else snapshot
    return InterestModel(WORLD.items, WORLD.clusters.centroids, WORLD.clusters.assignment, table, plan)


def events(rows, ages=None):
    rows = np.array(rows, np.int32)
    ages = np.zeros(len(rows)) if ages is None else np.array(ages)
    return rows, np.ones(len(rows), np.float32), ages.astype(np.float32)


def cluster_of(taste: int) -> int:
    return int(np.bincount(WORLD.clusters.assignment[WORLD.taste == taste]).argmax())


def vector_of(*tastes: int) -> np.ndarray:
    direction = unit(np.eye(TASTES)[list(tastes)].sum(0))
    return np.append(direction * 4, 1.0).astype(np.float32)


def test_without_smoothing_the_mixture_is_the_users_own():
    plan = replace(PLAN, kappa=0.0, own_share=0.0)
    found = model(plan).interests(vector_of(2, 6), *events([2, 10, 18, 6]), slots=100)
    assert found.clusters.tolist() == [OWN, cluster_of(2), cluster_of(6)]
    np.testing.assert_allclose(found.weights, [0, 0.75, 0.25], atol=1e-6)
    assert found.slots.tolist() == [0, 75, 25]


def test_smoothing_adds_what_similar_users_like():
    found = model().interests(vector_of(2), *events([2]), slots=100)
    assert cluster_of(2) == found.clusters[1]
    assert cluster_of(3) in found.clusters
    assert found.weights.sum() == pytest.approx(1)
    assert found.slots.sum() == 100


def test_more_events_mean_less_smoothing():
    few = model().interests(vector_of(2), *events([2]), slots=100)
    many = model().interests(vector_of(2), *events([2] * 50), slots=100)
    assert many.weights[1] > few.weights[1]


def test_old_events_fade():
    plan = replace(PLAN, kappa=0.0)
    found = model(plan).interests(vector_of(2, 6), *events([2, 2, 6], ages=[90, 90, 0]), slots=100)
    assert found.clusters[1] == cluster_of(6)


def test_every_query_has_the_own_vectors_length_and_bias_weight():
    user = vector_of(1)
    found = model().interests(user, *events([1, 9, 2]), slots=50)
    np.testing.assert_array_equal(found.queries[0], user)
    np.testing.assert_allclose(np.linalg.norm(found.queries[:, :-1], axis=1), 4, rtol=1e-5)
    np.testing.assert_array_equal(found.queries[:, -1], np.full(len(found), user[-1]))


@pytest.mark.parametrize("blend", [0.0, 1.0])
def test_the_blend_goes_from_the_interest_to_the_own_vector(blend):
    plan = replace(PLAN, query_blend=blend, kappa=0.0)
    found = model(plan).interests(vector_of(5), *events([2, 10]), slots=50)
    pointed = found.queries[1, :-1].argmax()
    assert pointed == (5 if blend else 2)


def test_a_cold_user_with_a_vector_gets_the_mixture_of_the_nearest_users():
    found = model().interests(vector_of(4), *NOTHING, slots=60)
    assert set(found.clusters.tolist()) == {OWN, cluster_of(4), cluster_of(5)} | set(
        found.clusters[3:].tolist()
    )
    assert found.slots.sum() == 60


def test_an_unknown_user_gets_the_snapshots_mean():
    found = model().interests(None, *NOTHING, slots=60)
    assert len(found) == 1 + PLAN.interests
    assert np.isfinite(found.queries).all()
    assert found.slots.sum() == 60


def test_events_without_a_vector_make_their_own():
    found = model().interests(None, *events([3, 11]), slots=10)
    assert found.queries[0, :-1].argmax() == 3


def test_without_a_snapshot_events_alone_decide_and_without_events_only_the_bias_asks():
    alone = model(snapshot=Snapshot.empty(TASTES))
    found = alone.interests(vector_of(1), *events([1, 9, 4]), slots=30)
    assert set(found.clusters.tolist()) == {OWN, cluster_of(1), cluster_of(4)}
    nobody = alone.interests(None, *NOTHING, slots=30)
    assert nobody.clusters.tolist() == [OWN]
    assert nobody.slots.tolist() == [30]
    assert nobody.queries[0, -1] > 0


def test_rows_outside_the_tables_and_weightless_events_are_ignored():
    plan = replace(PLAN, kappa=0.0)
    rows, weights, ages = events([2, 10_000_000, -1, 6])
    weights[3] = 0
    with_noise = model(plan).interests(vector_of(2), rows, weights, ages, slots=40)
    clean = model(plan).interests(vector_of(2), *events([2]), slots=40)
    np.testing.assert_array_equal(with_noise.queries, clean.queries)


def test_items_score_by_their_best_interest():
    found = model().interests(vector_of(2, 6), *events([2, 6]), slots=40)
    expected = (WORLD.items[:20] @ found.queries[1:].T).max(axis=1)
    np.testing.assert_allclose(found.score(WORLD.items[:20]), expected, rtol=1e-6)
