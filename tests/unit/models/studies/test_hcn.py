import json

import numpy as np
import pytest

from models.data.simulator import simulate
from models.encode import CROSS
from models.studies import hcn
from models.studies.hcn import METRICS, SINGLE, VARIANTS, Variant, compared, study
from models.training.config import TrainConfig
from models.training.ranker import train_ranker
from service.replay.hcn_tables import tell_hcn
from tests.unit.models.data.tiny import events_dataset

CONFIG = TrainConfig.model_validate(
    {
        "threads": 1,
        "history_length": 10,
        "split": {"ranker_events": 2},
        "tower": {"dim": 8, "layers": 1, "epochs": 1, "batch": 64},
        "retrieval": {"clusters": 6, "factors": 4},
        "preranker": {"dim": 8, "epochs": 1, "batch": 64, "distill_learning_rate": 0.01},
        "ranker": {"dim": 8, "experts": 2, "hidden": [8, 8], "activation": 4, "candidates": 8, "epochs": 1},
    }
)


@pytest.fixture(scope="module")
def world():
    return simulate(users=80, items=90, seed=4, sessions=5.0)[0]


def test_a_study_is_complete_plain_and_told(monkeypatch, world):
    monkeypatch.setattr(hcn, "WIDTH", 30)
    found = study(world, CONFIG, [0])
    trial = found["trials"][0]
    assert set(trial["variants"]) == {variant.name for variant in VARIANTS}
    assert 0 < trial["candidates"] <= 90
    for line in trial["variants"].values():
        assert 0 <= line["NDCG@10"] <= line["recall@200"] <= 1
        assert 0 <= line["funnel recall@50"] <= 1
        assert -1 <= line["cosine"] <= 1
    assert trial["variants"][SINGLE]["cosine"] == 0.0
    json.dumps(found, allow_nan=False)
    told = tell_hcn(found)
    assert all(f"| {variant.name} " in told for variant in VARIANTS)


def test_a_learned_cut_decides_what_its_ranker_learns_from_and_gets(monkeypatch, world):
    monkeypatch.setattr(hcn, "WIDTH", 30)
    monkeypatch.setattr(hcn, "VARIANTS", (Variant("alone", {}), Variant("cut", {}, "alone", True)))
    monkeypatch.setattr(hcn, "learn_cut", lambda *given: {"popular": 1.0})
    pools = []

    def train(features, data, *given, **more):
        pools.append(data.pools)
        return train_ranker(features, data, *given, **more)

    monkeypatch.setattr(hcn, "train_ranker", train)
    alone, cut = study(world, CONFIG, [0])["trials"][0]["variants"].values()
    popular = CROSS.index("popular")
    descend = [all((np.diff(pool.cross[:, popular]) <= 0).all() for pool in each) for each in pools]
    assert descend == [False, True]
    assert cut["cosine"] == alone["cosine"]
    assert cut["recall@200"] != alone["recall@200"]


def test_each_seed_repeats_and_none_trains_on_the_test(monkeypatch, world):
    monkeypatch.setattr(hcn, "VARIANTS", VARIANTS[:1])
    one, other = (study(world, CONFIG, [seed])["trials"][0] for seed in (0, 1))
    assert study(world, CONFIG, [0])["trials"][0] == one
    assert one["variants"] != other["variants"]


def test_a_line_is_tested_against_the_one_that_it_builds_on(monkeypatch):
    monkeypatch.setattr(hcn, "VARIANTS", (Variant("one", {}), Variant("two", {}, "one")))
    low = {metric: np.zeros(4) for metric in METRICS}
    high = {metric: np.array([1.0, 1.0, 0.0, 1.0]) for metric in METRICS}
    found = compared({"one": {"test": low, "validation": high}, "two": {"test": high, "validation": low}})
    assert found["two"]["cosine, more"] == 0.75
    assert found["two"]["cosine, p"] < 0.01
    assert (found["one"]["cosine, validation"], found["two"]["cosine, validation"]) == (0.75, 0.0)
    assert "cosine, more" not in found["one"]


def test_a_data_set_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="too small"):
        study(events_dataset([0] * 6, range(6), range(6)), CONFIG, [0])
