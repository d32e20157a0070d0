from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from models.encode import CROSS
from models.training import distil as distilling
from models.training.config import PreRankerConfig
from models.training.distil import Asked, agreement, distil, funnel_recall, reordered, rescored
from models.training.funnel import Pool
from models.training.networks import item_tower
from models.training.preranker import PreRankerModel, train_preranker
from tests.support.simulated import simulated_world

PRERANK = CROSS.index("prerank")
CANDIDATES, WIDTH = 60, 25
CONFIG = PreRankerConfig(
    dim=16, interests=3, epochs=1, batch=64, learning_rate=0.01, distill_epochs=3, distill_learning_rate=0.01
)


class LikesLate:
    """A ranker whose wishes are known: the higher an item's row, the better; `log` says what it was asked."""

    def __init__(self, sign: float = 1.0) -> None:
        self.sign = sign
        self.log: list[list[Pool]] = []

    def logits(self, batch, pools, width):
        self.log.append(pools)
        return [self.sign * pool.rows[:width].astype(np.float32) / 20 for pool in pools]


@pytest.fixture(scope="module")
def preranker() -> PreRankerModel:
    world = simulated_world()
    start = item_tower(world.features.schema, world.features.items, 16, 0.0)
    return train_preranker(world.features, world.split.train, world.validation, start, CONFIG, 0)


def asked(preranker: PreRankerModel, requests, seed: int = 0) -> Asked:
    """Random candidates, the target in every other request among them, in the pre-ranker's order."""
    random, items = np.random.default_rng(seed), simulated_world().features.dataset.items
    pools = []
    for r, target in enumerate(requests.target):
        rows = np.setdiff1d(random.permutation(items)[:CANDIDATES], [target])
        rows = np.append(rows, target).astype(np.int32) if r % 2 else rows.astype(np.int32)
        width = len(CROSS)
        pools.append(Pool(rows, np.zeros((len(rows), width), np.float32), np.zeros(width, np.float32), -1))
    return reordered(simulated_world().features, preranker, Asked(requests, pools))


@pytest.fixture(scope="module")
def lessons(preranker) -> Asked:
    return asked(preranker, simulated_world().validation)


@pytest.fixture(scope="module")
def held_out(preranker) -> Asked:
    return asked(preranker, simulated_world().test, seed=1)


class TestFunnelRecall:
    def test_it_is_the_share_of_the_rankers_best_that_the_cut_keeps(self, monkeypatch):
        monkeypatch.setattr(distilling, "TOP", 2)
        logits = [np.array([1, 5, 2, 4], np.float32), np.array([4, 3, 1, 2], np.float32)]
        assert funnel_recall(logits, 2).tolist() == [0.5, 1.0]
        assert funnel_recall(logits, 1).tolist() == [0.0, 0.5]
        assert funnel_recall(logits, 4).tolist() == [1.0, 1.0]

    def test_of_few_candidates_all_are_best_and_of_none_nothing_is_lost(self):
        assert funnel_recall([np.array([1.0, 2.0], np.float32), np.zeros(0, np.float32)], 1).tolist() == [
            0.5,
            1,
        ]
        assert funnel_recall([], 10).shape == (0,)


class TestReordered:
    def test_candidates_stay_and_stand_by_the_score_that_is_told(self, preranker, lessons):
        world = simulated_world()
        interests, items = (
            preranker.interests(world.features.batch(lessons.requests)),
            preranker.item_vectors(),
        )
        for r in (0, 1, 17):
            pool, target = lessons.pools[r], int(lessons.requests.target[r])
            scores = (items[pool.rows] @ interests[r].T).max(axis=1)
            np.testing.assert_allclose(pool.cross[:, PRERANK], scores, rtol=1e-5)
            assert (np.diff(pool.cross[:, PRERANK]) <= 0).all()
            own = (items[target] @ interests[r].T).max()
            assert pool.target_cross[PRERANK] == pytest.approx(own, rel=1e-5)
            assert pool.place == (pool.rows.tolist().index(target) if r % 2 else -1)

    def test_the_other_scores_go_with_their_items(self, preranker, lessons):
        marked = [replace(pool, cross=pool.cross.copy()) for pool in lessons.pools]
        for pool in marked:
            pool.cross[:, 0] = pool.rows
        random = np.random.default_rng(0)
        mixed = []
        for pool in marked:
            order = random.permutation(len(pool.rows))
            mixed.append(replace(pool, rows=pool.rows[order], cross=pool.cross[order]))
        again = reordered(simulated_world().features, preranker, Asked(lessons.requests, mixed))
        for pool, before in zip(again.pools, lessons.pools, strict=True):
            np.testing.assert_array_equal(pool.rows, before.rows)
            np.testing.assert_array_equal(pool.cross[:, 0], pool.rows)

    def test_given_items_get_the_same_score(self, preranker, lessons):
        features, requests = simulated_world().features, lessons.requests.at(np.arange(3))
        rows = np.stack([pool.rows[:5] for pool in lessons.pools[:3]])
        found = rescored(features, preranker, requests, rows, np.full((3, 5, len(CROSS)), 7, np.float32))
        for r in range(3):
            np.testing.assert_allclose(found[r, :, PRERANK], lessons.pools[r].cross[:5, PRERANK], rtol=1e-5)
        assert (np.delete(found, PRERANK, axis=2) == 7).all()


def taught(preranker, ranker, lessons, held_out, **changes) -> PreRankerModel:
    config = CONFIG.model_copy(update=changes)
    return distil(simulated_world().features, preranker, ranker, lessons, held_out, WIDTH, config, 0)


class TestDistil:
    def test_the_cut_keeps_more_of_what_the_ranker_wants(self, preranker, lessons, held_out):
        ranker, features = LikesLate(), simulated_world().features
        before, _ = agreement(features, ranker, held_out, WIDTH)
        student = taught(preranker, ranker, lessons, without_targets(held_out))
        after, _ = agreement(features, ranker, reordered(features, student, held_out), WIDTH)
        assert after.mean() > before.mean() + 0.2
        assert student.best != preranker.best

    @pytest.mark.parametrize("items", [True, False])
    def test_items_learn_only_where_they_may_and_the_given_model_never(
        self, preranker, lessons, held_out, items
    ):
        before = preranker.item_vectors().copy()
        student = taught(preranker, LikesLate(), lessons, without_targets(held_out), distill_items=items)
        assert student is not preranker
        np.testing.assert_array_equal(preranker.item_vectors(), before)
        assert np.allclose(student.item_vectors(), before) == (not items)

    def test_every_epoch_is_judged_with_the_students_own_scores(self, preranker, lessons, held_out):
        ranker = LikesLate()
        taught(preranker, ranker, lessons, held_out, distill_epochs=2)
        judged = [pools for pools in ranker.log if len(pools) == len(held_out.pools)]
        scores = [pools[0].cross[:, PRERANK] for pools in judged]
        assert not any(np.allclose(one, other) for one, other in pairwise(scores))

    def test_what_ranks_worse_is_not_kept(self, preranker, lessons, held_out, monkeypatch):
        values = iter([0.5, 0.4, 0.49, 0.3])
        monkeypatch.setattr(distilling, "funnel_ndcg", lambda scores, pools: next(values))
        assert taught(preranker, LikesLate(), lessons, held_out) is preranker

    def test_where_the_cut_keeps_all_already_nothing_changes(self, preranker, lessons, held_out):
        features = simulated_world().features
        same = distil(features, preranker, LikesLate(), lessons, held_out, 2 * CANDIDATES, CONFIG, 0)
        assert same is preranker

    def test_it_repeats_with_its_seed(self, preranker, lessons, held_out):
        one, same = (taught(preranker, LikesLate(), lessons, without_targets(held_out)) for _ in range(2))
        np.testing.assert_array_equal(one.item_vectors(), same.item_vectors())

    def test_nothing_to_learn_from_changes_nothing(self, preranker, lessons, held_out):
        alone = [replace(pool, rows=pool.rows[:1], cross=pool.cross[:1]) for pool in lessons.pools]
        empty = [replace(pool, rows=pool.rows[:0], cross=pool.cross[:0], place=-1) for pool in lessons.pools]
        nobody = Asked(held_out.requests.at(slice(0, 0)), [])
        for little in (alone, empty):
            assert taught(preranker, LikesLate(), Asked(lessons.requests, little), held_out) is preranker
        assert taught(preranker, LikesLate(), lessons, nobody) is preranker
        assert taught(preranker, LikesLate(), lessons, held_out, distill_epochs=0) is preranker

    def test_strangers_and_equal_scores_leave_it_finite(self, preranker, lessons, held_out):
        strangers = replace(lessons.requests, begin=lessons.requests.end)
        indifferent = LikesLate(sign=0.0)
        model = taught(preranker, indifferent, Asked(strangers, lessons.pools), without_targets(held_out))
        interests = model.interests(simulated_world().features.batch(strangers))
        assert np.isfinite(interests).all()
        assert np.isfinite(model.item_vectors()).all()


def without_targets(asked: Asked) -> Asked:
    """The same requests for items that no candidate is: their lists cannot get worse."""
    pools = [replace(pool, place=-1) for pool in asked.pools]
    return Asked(replace(asked.requests, target=absent(asked)), pools)


def absent(asked: Asked) -> np.ndarray:
    items = np.arange(simulated_world().features.dataset.items)
    return np.array([np.setdiff1d(items, pool.rows)[0] for pool in asked.pools], np.int32)
