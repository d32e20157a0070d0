from dataclasses import replace

import numpy as np
import pytest

from models.plan import Plan
from retrieval.clusters import unit
from retrieval.interests import OWN, InterestModel
from retrieval.snapshot import Snapshot
from tests.unit.retrieval.worlds import TASTES, planted

WORLD = planted()
PLAN = Plan(
    interests=3,
    own_share=0.5,
    query_blend=0.5,
    neighbours=10,
    kappa=5.0,
    tau_days=30.0,
    smoothing="both",
)
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
    found = model(plan).interests(vector_of(2, 6), *events([2, 10, 18, 6]))
    assert found.clusters.tolist() == [OWN, cluster_of(2), cluster_of(6)]
    np.testing.assert_allclose(found.weights, [0, 0.75, 0.25], atol=1e-6)
    assert found.slots(100).tolist() == [0, 75, 25]


def test_smoothing_adds_what_similar_users_like():
    found = model().interests(vector_of(2), *events([2]))
    assert cluster_of(2) == found.clusters[1]
    assert cluster_of(3) in found.clusters
    assert found.weights.sum() == pytest.approx(1)
    assert found.slots(100).sum() == 100


def test_more_events_mean_less_smoothing():
    few = model().interests(vector_of(2), *events([2]))
    many = model().interests(vector_of(2), *events([2] * 50))
    assert many.weights[1] > few.weights[1]


def test_old_events_fade():
    plan = replace(PLAN, kappa=0.0)
    found = model(plan).interests(vector_of(2, 6), *events([2, 2, 6], ages=[90, 90, 0]))
    assert found.clusters[1] == cluster_of(6)


def test_every_query_has_the_own_vectors_length_and_bias_weight():
    user = vector_of(1)
    found = model().interests(user, *events([1, 9, 2]))
    np.testing.assert_array_equal(found.queries[0], user)
    np.testing.assert_allclose(np.linalg.norm(found.queries[:, :-1], axis=1), 4, rtol=1e-5)
    np.testing.assert_array_equal(found.queries[:, -1], np.full(len(found), user[-1]))


@pytest.mark.parametrize("blend", [0.0, 1.0])
def test_the_blend_goes_from_the_interest_to_the_own_vector(blend):
    plan = replace(PLAN, query_blend=blend, kappa=0.0)
    found = model(plan).interests(vector_of(5), *events([2, 10]))
    pointed = found.queries[1, :-1].argmax()
    assert pointed == (5 if blend else 2)


def test_a_cold_user_with_a_vector_gets_the_mixture_of_the_nearest_users():
    found = model().interests(vector_of(4), *NOTHING)
    assert set(found.clusters.tolist()) == {OWN, cluster_of(4), cluster_of(5)} | set(
        found.clusters[3:].tolist()
    )
    assert found.slots(60).sum() == 60


def test_an_unknown_user_gets_the_snapshots_mean():
    found = model().interests(None, *NOTHING)
    assert len(found) == 1 + PLAN.interests
    assert np.isfinite(found.queries).all()
    assert found.slots(60).sum() == 60


def test_events_without_a_vector_make_their_own():
    found = model().interests(None, *events([3, 11]))
    assert found.queries[0, :-1].argmax() == 3


def test_without_a_snapshot_events_alone_decide_and_without_events_only_the_bias_asks():
    alone = model(snapshot=Snapshot.empty(TASTES))
    found = alone.interests(vector_of(1), *events([1, 9, 4]))
    assert set(found.clusters.tolist()) == {OWN, cluster_of(1), cluster_of(4)}
    nobody = alone.interests(None, *NOTHING)
    assert nobody.clusters.tolist() == [OWN]
    assert nobody.slots(30).tolist() == [30]
    assert nobody.queries[0, -1] > 0


def test_rows_outside_the_tables_and_weightless_events_are_ignored():
    plan = replace(PLAN, kappa=0.0)
    rows, weights, ages = events([2, 10_000_000, -1, 6])
    weights[3] = 0
    with_noise = model(plan).interests(vector_of(2), rows, weights, ages)
    clean = model(plan).interests(vector_of(2), *events([2]))
    np.testing.assert_array_equal(with_noise.queries, clean.queries)


def test_items_score_by_their_best_interest():
    found = model().interests(vector_of(2, 6), *events([2, 6]))
    expected = (WORLD.items[:20] @ found.queries[1:].T).max(axis=1)
    np.testing.assert_allclose(found.score(WORLD.items[:20]), expected, rtol=1e-6)


def asked(plan: Plan, rows=(2, 2, 6), snapshot: Snapshot | None = None, tastes=(2, 6)):
    return model(plan, snapshot).interests(vector_of(*tastes), *events(list(rows)))


def shares(found) -> dict[int, float]:
    return dict(zip(found.clusters.tolist(), found.weights.tolist(), strict=True))


class TestSmoothing:
    """Interests of several clusters, no query blend: weights and directions are what was smoothed."""

    PLAN = replace(PLAN, own_share=0.0, query_blend=0.0, interests=8)

    def test_none_is_the_same_as_an_own_weight_of_one(self):
        none = asked(replace(self.PLAN, smoothing="none"))
        own = asked(replace(self.PLAN, own_weight=1.0))
        both = asked(self.PLAN)
        np.testing.assert_array_equal(none.clusters, own.clusters)
        np.testing.assert_allclose(none.weights, own.weights, atol=1e-6)
        np.testing.assert_allclose(none.queries, own.queries, atol=1e-5)
        assert shares(both)[cluster_of(2)] < shares(none)[cluster_of(2)] == pytest.approx(2 / 3)

    def test_weights_alone_leaves_directions_to_the_user(self):
        none, weights, both = (
            asked(replace(self.PLAN, smoothing=part)) for part in ("none", "weights", "both")
        )
        assert shares(weights) == pytest.approx(shares(both))
        assert shares(weights) != pytest.approx(shares(none))
        for cluster in (cluster_of(2), cluster_of(6)):
            np.testing.assert_allclose(
                direction(weights, cluster), direction(none, cluster), rtol=1e-4, atol=1e-5
            )
            assert not np.allclose(direction(both, cluster), direction(none, cluster), atol=1e-3)

    def test_centroids_alone_leaves_the_mixture_to_the_user(self):
        none, centroids, both = (
            asked(replace(self.PLAN, smoothing=part)) for part in ("none", "centroids", "both")
        )
        assert shares(centroids) == pytest.approx(shares(none))
        for cluster in (cluster_of(2), cluster_of(6)):
            np.testing.assert_allclose(
                direction(centroids, cluster), direction(both, cluster), rtol=1e-4, atol=1e-5
            )
            assert not np.allclose(direction(centroids, cluster), direction(none, cluster), atol=1e-3)

    def test_a_fixed_weight_does_not_grow_with_events(self):
        plan = replace(self.PLAN, own_weight=0.8)
        few, many = asked(plan, [2, 6]), asked(plan, [2, 6] * 20)
        assert shares(few) == pytest.approx(shares(many))
        alone, nobody = (
            shares(asked(replace(plan, own_weight=1.0))),
            shares(asked(replace(plan, own_weight=0.0))),
        )
        mixed = shares(asked(plan))
        for cluster in mixed:
            assert mixed[cluster] == pytest.approx(
                0.8 * alone.get(cluster, 0) + 0.2 * nobody.get(cluster, 0), abs=1e-6
            )

    @pytest.mark.parametrize("changes", [{"own_weight": 1.0}, {"smoothing": "none"}])
    def test_without_events_there_are_always_the_neighbours(self, changes):
        found = asked(replace(self.PLAN, **changes), rows=[])
        plain = asked(self.PLAN, rows=[])
        np.testing.assert_array_equal(found.clusters, plain.clusters)
        np.testing.assert_allclose(found.weights, plain.weights, atol=1e-6)
        assert len(found) > 1


class TestTwin:
    """A user of the snapshot with the asking user's own vector is that user, a day older."""

    PLAN = replace(PLAN, own_share=0.0, interests=8)
    ODD = 7

    def with_twin(self, others: Snapshot) -> Snapshot:
        """`others` and a twin of a user of tastes 2 and 6 who is said to like `ODD` alone."""
        size = others.clusters.shape[1]
        clusters = np.full((1, size), -1, np.int32)
        clusters[0, 0] = cluster_of(self.ODD)
        weights = np.zeros((1, size), np.float32)
        weights[0, 0] = 1
        centroids = np.zeros((1, size, TASTES), np.float16)
        centroids[0, 0, self.ODD] = 1
        return Snapshot(
            np.concatenate([others.vectors, vector_of(2, 6)[None]]),
            np.concatenate([others.clusters, clusters]),
            np.concatenate([others.weights, weights]),
            np.concatenate([others.centroids, centroids]),
        )

    def test_he_is_not_his_own_neighbour(self):
        found = asked(self.PLAN, snapshot=self.with_twin(WORLD.snapshot()))
        plain = asked(self.PLAN)
        assert shares(found) == pytest.approx(shares(plain))
        np.testing.assert_allclose(found.queries, plain.queries, atol=1e-5)

    def test_nor_at_another_length(self):
        snapshot = self.with_twin(WORLD.snapshot())
        snapshot.vectors[-1, :-1] *= 3
        assert shares(asked(self.PLAN, snapshot=snapshot)) == pytest.approx(shares(asked(self.PLAN)))

    def test_somebody_a_little_different_is_a_neighbour(self):
        snapshot = self.with_twin(WORLD.snapshot())
        snapshot.vectors[-1, 0] += 0.2
        found = asked(self.PLAN, snapshot=snapshot)
        assert shares(found)[cluster_of(self.ODD)] > shares(asked(self.PLAN)).get(cluster_of(self.ODD), 0)

    def test_where_there_is_nobody_else_the_mean_of_all_stands_in(self):
        found = asked(self.PLAN, rows=[], snapshot=self.with_twin(Snapshot.empty(TASTES)))
        assert np.isfinite(found.queries).all()
        assert shares(found)[cluster_of(self.ODD)] == pytest.approx(1)


def direction(found, cluster: int) -> np.ndarray:
    return unit(found.queries[found.clusters == cluster, :-1])[0]


def test_a_plan_without_interests_asks_with_the_own_vector_alone():
    found = model(replace(PLAN, interests=0, own_share=1.0)).interests(vector_of(2), *events([2, 3]))
    assert (found.clusters.tolist(), found.slots(40).tolist(), found.weights.tolist()) == ([OWN], [40], [1.0])
    np.testing.assert_array_equal(found.queries, vector_of(2)[None])
    assert found.own_parts == pytest.approx([2 / 7])


def test_similar_users_are_searched_only_where_they_have_a_part(monkeypatch):
    asked = []
    plan = replace(PLAN, smoothing="none")
    silent = model(plan)
    monkeypatch.setattr(silent, "_nearest", lambda vector: asked.append(vector))
    found = silent.interests(vector_of(2), *events([2, 2, 3]))
    assert not asked
    expected = model(plan).interests(vector_of(2), *events([2, 2, 3]))
    np.testing.assert_array_equal(found.queries, expected.queries)
    silent.interests(vector_of(2), *NOTHING)
    assert len(asked) == 1
