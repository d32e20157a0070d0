from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from models.data.simulator import simulate
from models.encode import CROSS
from models.plan import Plan
from models.training import run
from models.training.candidates import choose_width, sized
from models.training.config import ConfigError, SplitConfig, TrainConfig
from models.training.funnel import Pool
from models.training.ground import cut, thinned
from models.training.run import train
from models.training.timeline import Timeline
from tests.support.trained import CONFIG, TrainedWorld
from tests.unit.models.data.tiny import events_dataset


def found_at(places: list[int]) -> list[Pool]:
    width = len(CROSS)
    rows = np.arange(500, dtype=np.int32)
    return [Pool(rows, np.zeros((500, width), np.float32), np.zeros(width, np.float32), p) for p in places]


class TestCut:
    def test_the_newest_training_events_of_a_user_are_the_rankers(self):
        dataset = events_dataset([0] * 9 + [1] * 3, [*range(9), *range(3)], range(12))
        split, early, late = cut(dataset, SplitConfig(ranker_events=3))
        assert (early.tolist(), late.tolist()) == ([0, 1, 2, 3, 9], [4, 5, 6])
        assert (split.validation.tolist(), split.test.tolist()) == ([7, 10], [8, 11])

    def test_events_with_items_that_were_seen_are_no_requests(self):
        dataset = events_dataset([0, 1] * 6, [0] * 12, range(12))
        with pytest.raises(
            ValueError, match="leaves 0 ranker events with items that are new to their users, 2"
        ):
            cut(dataset, SplitConfig())

    def test_by_time_the_newest_share_is_the_rankers(self):
        dataset = events_dataset(np.zeros(100, int), range(100), range(100))
        split, early, late = cut(
            dataset, SplitConfig(protocol="global-time", test=0.1, validation=0.1, ranker_share=0.25)
        )
        assert (len(early), len(late)) == (60, 20)
        assert early[-1] < late[0] <= late[-1] < split.validation[0] < split.test[0]

    def test_of_a_given_split_the_newest_training_events_of_a_user_are_the_rankers(self):
        dataset = replace(
            events_dataset([0] * 8 + [1] * 5, [*range(8), *range(5)], range(13)),
            event_part=np.array([0, 0, 0, 0, 0, 1, 2, 2, 0, 0, 0, 1, 2], np.int8),
            order="none",
        )
        split, early, late = cut(dataset, SplitConfig(protocol="given", ranker_events=2))
        assert (early.tolist(), late.tolist()) == ([0, 1, 2, 8, 9], [3, 4, 10])
        assert (split.validation.tolist(), split.test.tolist()) == ([5, 11], [6, 7, 12])

    def test_a_given_split_that_is_not_there_is_refused(self):
        with pytest.raises(ValueError, match="no column `part`"):
            cut(events_dataset([0] * 9, range(9), range(9)), SplitConfig(protocol="given"))

    @pytest.mark.parametrize(
        ("events", "config", "said"),
        [
            (2, SplitConfig(), "leave-last-out leaves 0 ranker events"),
            (4, SplitConfig(), "leave-last-out leaves 0 ranker events"),
            (30, SplitConfig(), "leave-last-out leaves 1 validation events"),
            (30, SplitConfig(protocol="global-time", validation=0.0), "global-time leaves 0 validation"),
        ],
    )
    def test_a_data_set_that_is_too_small_is_refused(self, events, config, said):
        with pytest.raises(ValueError, match=rf"tiny: {said}.*too small"):
            cut(events_dataset(np.zeros(events, int), range(events), range(events)), config)


class TestWidths:
    @pytest.mark.parametrize(
        ("items", "plan", "candidates", "ranked"),
        [
            (100_000, {}, 1000, 200),
            (1_000, {}, 350, 200),
            (50, {}, 100, 100),
            (50, {"candidates": 40}, 40, 40),
            (1_000, {"ranked": 9}, 350, 9),
        ],
    )
    def test_a_small_catalogue_is_narrowed_unless_told(self, items, plan, candidates, ranked):
        plan = sized(TrainConfig(plan=plan), items)
        assert (plan.candidates, plan.ranked) == (candidates, ranked)

    def test_the_pre_ranker_keeps_the_least_that_keeps_recall(self):
        pools = found_at([10] * 80 + [120] * 15 + [-1] * 5)
        assert choose_width(TrainConfig(), Plan(), pools) == 150

    def test_no_width_is_enough_so_the_widest_that_there_is(self):
        assert choose_width(TrainConfig(), Plan(candidates=220), found_at([400] * 10)) == 200
        assert choose_width(TrainConfig(), Plan(candidates=30), found_at([400] * 10)) == 30

    def test_an_override_wins(self):
        config = TrainConfig(plan={"ranked": 77})
        assert choose_width(config, Plan(ranked=77), found_at([10])) == 77

    def test_requests_are_thinned_evenly(self):
        requests = Timeline(events_dataset([0] * 9, range(9), range(9))).requests(np.arange(9))
        assert thinned(requests, 3).target.tolist() == [0, 4, 8]
        assert thinned(requests, 9) is requests


class TestTraining:
    def test_every_stage_reports(self, trained_world: TrainedWorld):
        told = trained_world.trained.metrics["validation"]
        assert told["recall_preranked"] <= told["recall_retrieved"]
        assert told["recall_retrieved"] > 0.5
        assert told["final_ndcg@10"] >= 0.999 * told["preranked_ndcg@10"]
        assert told["copc"] == pytest.approx(1.0, abs=0.1)
        assert 0.5 < told["auc"] <= 1
        assert 0 < told["funnel_recall"] <= 1
        assert -1 <= told["interest_cosine"] <= 1
        assert all(np.isfinite(each) for each in told.values() if isinstance(each, float))

    def test_a_pre_ranker_that_learned_from_the_ranker_is_the_one_that_is_judged_and_kept(
        self, trained_world: TrainedWorld, monkeypatch
    ):
        def learned(features, preranker, *more):
            users = copy.deepcopy(preranker.users)
            users.temperature *= 0.5
            return replace(preranker, users=users, best=0.125)

        monkeypatch.setattr(run, "distil", learned)
        told, before = train(trained_world.dataset, CONFIG), trained_world.trained
        found = told.metrics["validation"]
        np.testing.assert_array_equal(told.ranker.item_vectors(), before.ranker.item_vectors())
        assert told.encoders.preranker.users.temperature == pytest.approx(
            0.5 * before.encoders.preranker.users.temperature
        )
        assert found["preranker_ndcg@10"] == 0.125
        assert found["log_loss"] != before.metrics["validation"]["log_loss"]

    def test_the_plan_is_what_was_asked_for_with_the_calibrator_that_was_chosen(
        self, trained_world: TrainedWorld
    ):
        trained = trained_world.trained
        assert (trained.plan.candidates, trained.plan.ranked) == (60, 30)
        assert trained.plan.calibration == trained.calibrator.kind

    def test_the_seed_decides(self, trained_world: TrainedWorld):
        trained = trained_world.trained
        again = train(trained_world.dataset, CONFIG)
        assert again.metrics == trained.metrics
        for mine, theirs in (
            (again.encoders.space.vectors, trained.encoders.space.vectors),
            (again.encoders.preranker.item_vectors(), trained.encoders.preranker.item_vectors()),
            (again.ranker.item_vectors(), trained.ranker.item_vectors()),
            (again.snapshot.vectors, trained.snapshot.vectors),
        ):
            np.testing.assert_array_equal(mine, theirs)
        other = train(trained_world.dataset, CONFIG.model_copy(update={"seed": 4}))
        assert other.metrics["validation"] != trained.metrics["validation"]
        assert not np.allclose(other.encoders.space.vectors, trained.encoders.space.vectors)

    def test_the_test_events_are_never_read(self, trained_world: TrainedWorld):
        """Another last event of every user changes nothing that training gives."""
        dataset = trained_world.dataset
        split, _, _ = cut(dataset, CONFIG.split)
        items = dataset.event_item.copy()
        items[split.test] = (items[split.test] + 1) % dataset.items
        told = train(replace(dataset, event_item=items), CONFIG)
        assert told.metrics == trained_world.trained.metrics
        np.testing.assert_array_equal(
            told.encoders.space.vectors, trained_world.trained.encoders.space.vectors
        )

    def test_an_unknown_name_is_refused_before_anything_is_trained(self):
        dataset, _ = simulate(users=20, items=20, seed=0)
        config = CONFIG.model_copy(update={"calibration": "oracle"})
        with pytest.raises(ConfigError, match="calibration: unknown name 'oracle'"):
            train(dataset, config)
