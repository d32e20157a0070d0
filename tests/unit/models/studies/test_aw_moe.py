from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from models.data.simulator import simulate
from models.encode import CROSS
from models.studies import aw_moe
from models.studies.aw_moe import compare
from models.training.candidates import Candidates
from models.training.config import TrainConfig
from models.training.encoders import Encoders
from models.training.funnel import Pool
from models.training.ground import Ground
from models.training.timeline import Requests
from service.replay.ranker_tables import tell_rankers

USERS = 40
CONFIG = TrainConfig.model_validate(
    {
        "threads": 1,
        "history_length": 10,
        "split": {"ranker_events": 2},
        "tower": {"dim": 8, "layers": 1, "epochs": 1, "batch": 64},
        "query": {"hidden": 8, "epochs": 1},
        "retrieval": {"clusters": 6, "factors": 4},
        "preranker": {"dim": 8, "epochs": 1, "batch": 64},
        "ranker": {"dim": 8, "experts": 2, "hidden": [8, 8], "activation": 4, "candidates": 8, "epochs": 1},
    }
)


def pool(place: int, size: int = 20) -> Pool:
    cross = np.zeros((size, len(CROSS)), np.float32)
    return Pool(np.arange(size, dtype=np.int32), cross, cross[0], place)


def asked(places: list[int]) -> aw_moe.Asked:
    count = len(places)
    zeros = np.zeros(count, np.int64)
    requests = Requests(zeros, np.array(places, np.int32), zeros, zeros.astype(np.int16), zeros, zeros + 9)
    return aw_moe.Asked(requests, [pool(place) for place in places], np.arange(count), count)


def test_a_study_is_plain_and_its_rankers_get_the_candidates_of_a_run(monkeypatch):
    world = simulate(users=80, items=90, seed=4, sessions=5.0)[0]
    few = {name: aw_moe.VARIANTS[name] for name in (aw_moe.RIVAL, aw_moe.FULL)}
    monkeypatch.setattr(aw_moe, "VARIANTS", few)
    made = []
    monkeypatch.setattr(aw_moe, "compare", lambda *given: made.append(given[0]) or compare(*given))
    found = aw_moe.study(world, CONFIG, [0])
    for part in aw_moe.SLICES:
        assert set(found["slices"][part]) > {aw_moe.BEFORE, *few}
        assert 0 < found["requests"][part][0] <= 80
        assert all(0 <= line["GAUC"] <= 1 for line in found["slices"][part].values())
    json.dumps(found, allow_nan=False)
    ground = Ground.of(world, CONFIG)
    encoders = Encoders.learn(ground, None)
    of_run = Candidates.of(ground, encoders, encoders)
    assert made[0].plan == of_run.plan
    width = of_run.plan.ranked
    kept = [pool for pool in of_run.held_out if 0 <= pool.place < width]
    assert [pool.rows.tolist() for pool in made[0].validation.pools] == [
        pool.rows[:width].tolist() for pool in kept
    ]


def test_the_target_on_top_is_perfect_and_at_the_end_worthless():
    scores = np.arange(20, 0, -1).astype(np.float32)
    found = aw_moe.judged([scores] * 3, asked([0, 19, 1]))
    np.testing.assert_allclose(found["GAUC"], [1.0, 0.0, 18 / 19])
    np.testing.assert_allclose(found["NDCG@10"], [1.0, 0.0, 1 / np.log2(3)])


def test_ties_count_half_and_a_lone_candidate_is_right():
    found = aw_moe.judged([np.zeros(20, np.float32)], asked([7]))
    assert found["GAUC"][0] == 0.5
    alone = replace(asked([0]), pools=[pool(0, size=1)])
    assert aw_moe.judged([np.zeros(1, np.float32)], alone)["GAUC"][0] == 1.0


def test_requests_whose_target_was_lost_count_for_nothing_but_keep_their_place():
    some = replace(asked([0, 19]), place=np.array([1, 3]), total=5)
    areas = aw_moe.judged([np.arange(20, 0, -1).astype(np.float32)] * 2, some)["GAUC"]
    np.testing.assert_array_equal(areas, [np.nan, 1.0, np.nan, 0.0, np.nan])
    seed = {aw_moe.FULL: {"all events": {"AUC": 0.5, "GAUC": areas, "NDCG@10": areas}}}
    other = {aw_moe.FULL: {"all events": {"AUC": 0.5, "GAUC": areas[::-1], "NDCG@10": areas}}}
    # Users 1 and 3 were found by both seeds, once on top and once at the end.
    line = aw_moe.summary([seed, other], "all events")[aw_moe.FULL]
    assert line["GAUC"] == 0.5
    assert line["GAUC interval"] == 0.0


def test_a_cut_history_keeps_its_newest_events():
    requests = asked([1, 2]).requests
    cut = aw_moe.newest(requests, 3)
    assert (cut.end - cut.begin).tolist() == [3, 3]
    assert cut.end.tolist() == requests.end.tolist()
    assert aw_moe.newest(requests, 100).begin.tolist() == requests.begin.tolist()


def figures(lead: float, seed: int) -> dict:
    """Figures of every ranker: the full form's areas are larger than all others' by `lead`, but for noise."""
    random = np.random.default_rng(seed)
    base = random.uniform(0.3, 0.6, USERS)

    def of(name: str) -> dict:
        more = lead if name == aw_moe.FULL else 0.0
        areas = base + more + random.normal(0, 0.001, USERS)
        return {"AUC": float(areas.mean()), "GAUC": areas, "NDCG@10": areas / 5, "log loss": 0.1}

    names = (aw_moe.BEFORE, *aw_moe.VARIANTS)
    return {name: {part: of(name) for part in aw_moe.SLICES} for name in names}


@pytest.mark.parametrize("lead", [0.05, -0.05])
def test_the_table_says_who_leads_and_how_certain_that_is(lead):
    seeds = [0, 1, 2]
    found = aw_moe.told("tiny", TrainConfig(), seeds, [200] * 3, [figures(lead, seed) for seed in seeds])
    told = tell_rankers(json.loads(json.dumps(found)))
    assert told.count("| target attention") == len(aw_moe.SLICES)
    word = "yes" if lead > 0 else "no"
    assert told.count(f"{word}, for certain ({lead:+.1f}"[:-1]) == len(aw_moe.SLICES)
    assert found["slices"]["newest 3"][aw_moe.RIVAL]["GAUC lead"] == pytest.approx(lead, abs=2e-3)


def test_figures_that_are_alike_are_called_noise():
    found = aw_moe.told("tiny", TrainConfig(), [0], [200], [figures(0.0, 0)])
    assert "for certain" not in tell_rankers(found)
