from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.data.columns import Dataset
from models.data.splits import leave_last_out
from models.encode import CROSS
from models.training.features import Features
from models.training.funnel import Funnel, cut_weights, snapshot_of
from models.training.timeline import Requests
from tests.support.trained import TrainedWorld


@pytest.fixture(scope="module")
def dataset(trained_world: TrainedWorld) -> Dataset:
    return trained_world.dataset


@pytest.fixture(scope="module")
def features(trained_world: TrainedWorld) -> Features:
    return Features.of(trained_world.dataset, trained_world.trained.schema)


@pytest.fixture(scope="module")
def funnel(trained_world: TrainedWorld, features: Features) -> Funnel:
    trained = trained_world.trained
    return Funnel(
        features,
        trained.encoders.towers,
        trained.encoders.preranker,
        trained.encoders.space,
        trained.tables,
        trained.snapshot,
        trained.plan,
    )


@pytest.fixture(scope="module")
def requests(dataset: Dataset, features: Features) -> Requests:
    return features.timeline.requests(leave_last_out(dataset).test)


def test_candidates_are_distinct_unseen_and_in_the_order_of_the_cut(funnel, features, requests):
    for pool, seen in zip(
        funnel.pools(requests, "candidates"), features.timeline.seen(requests), strict=True
    ):
        assert len(np.unique(pool.rows)) == len(pool.rows)
        assert not np.isin(pool.rows, seen).any()
        assert (np.diff(pool.cross @ cut_weights(funnel.plan.cut)) <= 0).all()
        assert pool.cross.shape == (len(pool.rows), len(CROSS))
        assert np.isfinite(pool.cross).all()


def test_the_target_has_its_place_and_its_features(funnel, requests):
    pools = funnel.pools(requests, "candidates")
    places = [pool.place for pool in pools]
    assert {place >= 0 for place in places} == {True, False} or min(places) >= 0
    for pool, target in zip(pools, requests.target, strict=True):
        if pool.place >= 0:
            assert pool.rows[pool.place] == target
            np.testing.assert_allclose(pool.cross[pool.place], pool.target_cross, rtol=1e-4, atol=1e-5)
        else:
            assert target not in pool.rows
        assert np.isfinite(pool.target_cross).all()


def test_features_of_given_candidates_are_those_of_the_pool(funnel, requests):
    pool = funnel.pools(requests.at(slice(0, 1)), "candidates")[0]
    given = funnel.cross_of(requests.at(slice(0, 1)), pool.rows[None, :9])[0]
    np.testing.assert_allclose(given, pool.cross[:9], rtol=1e-4, atol=1e-5)


def test_requests_do_not_depend_on_each_other(funnel, requests):
    together = funnel.pools(requests, "candidates")
    for r in (0, len(requests) - 1):
        alone = funnel.pools(requests.at(slice(r, r + 1)), "candidates")[0]
        assert set(alone.rows.tolist()) == set(together[r].rows.tolist())


def test_someone_without_a_history_gets_candidates(funnel, features, dataset):
    first = features.timeline.requests(np.array([0]))
    assert first.begin[0] == first.end[0]
    pool = funnel.pools(first, "candidates")[0]
    assert len(pool.rows) >= funnel.plan.candidates // 2
    assert not pool.cross[:, CROSS.index("similar")].any()
    assert np.isfinite(pool.cross).all()


def test_popularity_is_of_the_requests_placement(trained_world, features, requests):
    trained = trained_world.trained
    two = np.concatenate([trained.tables.popularity, trained.tables.popularity[:, ::-1]])
    tables = type(trained.tables)(trained.tables.neighbours, two)
    funnel = Funnel(
        features,
        trained.encoders.towers,
        trained.encoders.preranker,
        trained.encoders.space,
        tables,
        trained.snapshot,
        replace(trained.plan, quotas={**trained.plan.quotas, "popular": 0.1}),
    )
    one = requests.at(slice(0, 1))
    other = Requests(one.user, one.target, one.now_ms, one.placement + 1, one.begin, one.end)
    rows = np.arange(20, dtype=np.int32)[None]
    column = CROSS.index("popular")
    np.testing.assert_allclose(funnel.cross_of(one, rows)[0, :, column], np.log1p(two[0, :20]), rtol=1e-6)
    np.testing.assert_allclose(funnel.cross_of(other, rows)[0, :, column], np.log1p(two[1, :20]), rtol=1e-6)
    popular = funnel.pools(other, "candidates")[0].rows
    best = np.argsort(-two[1], kind="stable")
    unseen = best[~np.isin(best, features.timeline.seen(one)[0])]
    assert np.isin(unseen[:6], popular).all()


class TestSnapshot:
    def test_users_stand_as_after_the_given_events(self, trained_world, features, dataset):
        trained = trained_world.trained
        events = leave_last_out(dataset).train_and_validation
        found = snapshot_of(
            features,
            trained.encoders.towers,
            trained.encoders.space,
            events,
            trained.plan,
            8,
            20_000,
            trained.config.seed,
        )
        np.testing.assert_array_equal(found.vectors, trained.snapshot.vectors)
        user = int(np.flatnonzero(np.bincount(dataset.event_user[events]) >= 3)[0])
        own = events[dataset.event_user[events] == user]
        place = features.timeline.place[own[-1:]]
        after = Requests(
            np.array([user], np.int32),
            np.zeros(1, np.int32),
            dataset.event_time_ms[own[-1:]],
            np.zeros(1, np.int16),
            features.timeline.start[[user]],
            place + 1,
        )
        vector = trained.encoders.towers.user_vectors(features.batch(after))[0]
        np.testing.assert_allclose(found.vectors[0], vector, rtol=1e-4, atol=1e-4)

    def test_later_events_are_not_in_it(self, trained_world, features, dataset):
        trained = trained_world.trained
        early = np.arange(dataset.events // 2)
        settings = (trained.plan, 8, 20_000, 0)
        found = snapshot_of(features, trained.encoders.towers, trained.encoders.space, early, *settings)
        assert len(found) == (np.bincount(dataset.event_user[early]) >= 3).sum()


def test_a_source_proposes_as_much_as_its_quota_and_the_union_is_the_pool(funnel, requests):
    some = requests.at(slice(0, 5))
    narrow = funnel.under({"interests": 0.3, "similar": 0.2, "factors": 0.1, "popular": 0.1})
    lists = narrow.proposals(some, "sources")
    pools = narrow.pools(some, "candidates")
    assert funnel.plan.quotas != narrow.plan.quotas
    for r in range(len(some)):
        parts = {name: rows[r] for name, rows in lists.items()}
        for name, rows in parts.items():
            assert len(np.unique(rows)) == len(rows)
            assert len(rows) <= np.ceil(narrow.plan.candidates * narrow.plan.quotas[name]) + len(
                events_of(requests, r)
            )
        together = np.unique(np.concatenate(list(parts.values())))
        assert together.tolist() == np.sort(pools[r].rows).tolist()


def events_of(requests: Requests, r: int) -> range:
    return range(int(requests.begin[r]), int(requests.end[r]))
