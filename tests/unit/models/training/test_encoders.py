from __future__ import annotations

import numpy as np
import torch

from models.encode import CROSS
from models.training.candidates import Candidates
from models.training.encoders import Encoders, turn
from models.training.ground import Ground
from models.training.ranker import RankerModel
from models.training.run import train
from tests.support.networks import CONFIG as SMALL
from tests.support.networks import small_networks
from tests.support.trained import CONFIG, TrainedWorld


def space(items: int, dim: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((items, dim + 1)).astype(np.float32)


def turned_space(vectors: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The same items lying another way round, and how."""
    around, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((vectors.shape[1] - 1,) * 2))
    other = vectors.copy()
    other[:, :-1] = vectors[:, :-1] @ around.astype(np.float32)
    return other, around.astype(np.float32)


def test_a_turn_takes_a_space_that_was_turned_back():
    before = space(40, 8, 0)
    after, around = turned_space(before, 1)
    np.testing.assert_allclose(turn(before, after), around.T, atol=1e-5)
    np.testing.assert_allclose(after[:, :-1] @ turn(before, after), before[:, :-1], atol=1e-5)


def test_a_ranker_reads_the_same_in_a_query_of_the_turned_space():
    networks = small_networks()
    ranker = RankerModel(networks.rank_items, networks.ranker, 0.0)
    networks.ranker.knows_queries.fill_(1.0)
    before = space(40, SMALL.tower.dim, 0)
    after, _ = turned_space(before, 1)
    _, asked = networks.ranker.asked(torch.from_numpy(before[:5]))
    ranker.turn_queries(turn(before, after))
    _, again = networks.ranker.asked(torch.from_numpy(after[:5]))
    torch.testing.assert_close(again, asked, atol=1e-5, rtol=1e-4)


def test_a_refit_knows_the_newest_events_and_changes_nothing_else(trained_world: TrainedWorld):
    trained = trained_world.trained
    once = train(trained_world.dataset, CONFIG.model_copy(update={"refit": False}))
    assert once.metrics == trained.metrics
    np.testing.assert_array_equal(once.ranker.item_vectors(), trained.ranker.item_vectors())
    found = trained.encoders.towers
    assert (found.best, found.epoch) == (once.encoders.towers.best, once.encoders.towers.epoch)
    assert not np.allclose(once.encoders.space.vectors, trained.encoders.space.vectors)
    assert not np.allclose(once.encoders.preranker.item_vectors(), trained.encoders.preranker.item_vectors())


class TestJudges:
    """Who finds the candidates of validation's requests."""

    def ground(self, world: TrainedWorld, protocol: str, **changes: object) -> Ground:
        split = CONFIG.split.model_copy(update={"protocol": protocol})
        return Ground.of(world.dataset, CONFIG.model_copy(update={"split": split, **changes}))

    def test_of_users_last_events_the_encoders_themselves(self, trained_world: TrainedWorld):
        ground = self.ground(trained_world, "leave-last-out")
        encoders = trained_world.trained.encoders
        assert encoders.judges(ground) is encoders

    def test_without_a_refit_the_encoders_themselves(self, trained_world: TrainedWorld):
        ground = self.ground(trained_world, "global-time", refit=False)
        encoders = trained_world.trained.encoders
        assert encoders.judges(ground) is encoders

    def test_of_a_later_time_those_that_know_all_events_before_it(self, trained_world: TrainedWorld):
        ground = self.ground(trained_world, "global-time")
        encoders = Encoders.learn(ground, None)
        judges = encoders.judges(ground)
        asked = ground.features.batch(ground.validation)
        found = Candidates.of(ground, encoders, judges)
        tower = CROSS.index("tower")
        for r in range(0, len(ground.validation), 7):
            pool = found.held_out[r]
            vectors = judges.space.vectors[pool.rows]
            expected = vectors @ judges.towers.user_vectors(asked)[r]
            np.testing.assert_allclose(pool.cross[:, tower], expected, rtol=1e-3, atol=1e-3)
            other = encoders.space.vectors[pool.rows] @ encoders.towers.user_vectors(asked)[r]
            assert not np.allclose(pool.cross[:, tower], other, rtol=1e-2, atol=1e-2)
