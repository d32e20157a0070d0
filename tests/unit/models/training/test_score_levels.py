from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.encode import CROSS
from models.training.funnel import Pool
from models.training.ranker import RankerModel
from models.training.run import train
from models.training.score_levels import REFITTED, ScoreLevels
from tests.support.networks import small_networks
from tests.support.trained import CONFIG, TrainedWorld

COLUMNS = [CROSS.index(name) for name in REFITTED]


def pools(seed: int, requests: int = 30, candidates: int = 40) -> list[Pool]:
    random = np.random.default_rng(seed)
    made = []
    for _ in range(requests):
        cross = random.standard_normal((candidates, len(CROSS))).astype(np.float32)
        made.append(Pool(np.arange(candidates, dtype=np.int32), cross, cross[0], -1))
    return made


def refitted(found: list[Pool], factor: float, shift: float) -> list[Pool]:
    """The same with the scores of encoders on another scale."""

    def told(pool: Pool) -> Pool:
        cross = pool.cross.copy()
        cross[:, COLUMNS] = factor * cross[:, COLUMNS] + shift
        return replace(pool, cross=cross)

    return [told(pool) for pool in found]


def test_only_candidates_that_are_ranked_count():
    few = [replace(pool, cross=np.arange(280, dtype=np.float32).reshape(40, -1)) for pool in pools(0, 2)]
    assert ScoreLevels.of(few, 2).mean[0] == pytest.approx(3.5)
    assert ScoreLevels.of(few, 40).mean[0] == pytest.approx(7 * 19.5)


def test_without_candidates_nothing_moves():
    none, mean, scale = ScoreLevels.of([], 10), np.arange(7.0), np.full(7, 2.0)
    for before, after in ((none, ScoreLevels.of(pools(0), 10)), (ScoreLevels.of(pools(0), 10), none)):
        moved = before.moved(after, mean, scale)
        np.testing.assert_array_equal(moved, (mean, scale))


def test_scores_that_are_counted_keep_their_levels():
    before, after = ScoreLevels.of(pools(0), 40), ScoreLevels.of(pools(1), 40)
    mean, scale = before.moved(after, np.ones(7), np.ones(7))
    counted = np.setdiff1d(np.arange(len(CROSS)), COLUMNS)
    assert (mean[counted] == 1).all()
    assert (scale[counted] == 1).all()
    assert (scale[COLUMNS] != 1).all()


@pytest.mark.parametrize(("factor", "shift"), [(1.0, 5.0), (0.3, -2.0), (2.0, 0.0)])
def test_a_ranker_reads_scores_of_another_level_as_those_that_it_learned_from(factor, shift):
    networks = small_networks()
    ranker = RankerModel(networks.rank_items, networks.ranker, 0.0)
    found = pools(2)
    other = refitted(found, factor, shift)

    def standardised(pool: Pool) -> np.ndarray:
        return (pool.cross - networks.ranker.cross_mean.numpy()) / networks.ranker.cross_scale.numpy()

    before = [standardised(pool) for pool in found]
    ranker.read_levels(ScoreLevels.of(found, 40), ScoreLevels.of(other, 40))
    np.testing.assert_allclose([standardised(pool) for pool in other], before, atol=1e-4)


def test_the_ranker_before_searches_reads_the_same_levels():
    first, second = small_networks(), small_networks()
    unread = RankerModel(first.rank_items, first.ranker, 0.0)
    ranker = RankerModel(second.rank_items, second.ranker, 0.0, unread=unread)
    found = pools(3)
    ranker.read_levels(ScoreLevels.of(found, 40), ScoreLevels.of(refitted(found, 2.0, 1.0), 40))
    np.testing.assert_array_equal(unread.ranker.cross_mean, ranker.ranker.cross_mean)
    assert (unread.ranker.cross_scale.numpy()[COLUMNS] > 1.9).all()


def test_a_refit_is_read_on_the_levels_of_before_and_a_run_without_one_as_it_was(
    trained_world: TrainedWorld, monkeypatch
):
    """Scores of the refitted encoders, standardised as the ranker does it, lie where those of before lay."""
    seen = {}
    read = RankerModel.read_levels

    def watched(self, before, after):
        seen["mean"], seen["scale"] = (
            each.numpy().copy() for each in (self.ranker.cross_mean, self.ranker.cross_scale)
        )
        seen["before"], seen["after"] = before, after
        read(self, before, after)

    monkeypatch.setattr(RankerModel, "read_levels", watched)
    ranker = train(trained_world.dataset, CONFIG).ranker.ranker
    lay = (seen["before"].mean - seen["mean"]) / seen["scale"]
    lies = (seen["after"].mean - ranker.cross_mean.numpy()) / ranker.cross_scale.numpy()
    np.testing.assert_allclose(lies[COLUMNS], lay[COLUMNS], atol=1e-3)
    assert np.abs(seen["after"].mean - seen["before"].mean)[COLUMNS].max() > 0.01
    seen.clear()
    once = train(trained_world.dataset, CONFIG.model_copy(update={"refit": False}))
    assert not seen
    assert once.metrics == trained_world.trained.metrics
