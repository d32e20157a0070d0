import json
from dataclasses import replace

import numpy as np
import pytest

from models.data.simulator import simulate
from models.studies import sources
from models.studies.sources import SUMMED, judged, study
from models.training.config import TrainConfig
from models.training.quotas import GRID

CONFIG = TrainConfig.model_validate(
    {
        "threads": 1,
        "history_length": 10,
        "tower": {"dim": 8, "layers": 1, "epochs": 1, "batch": 64},
        "retrieval": {"clusters": 6, "factors": 4},
    }
)
LISTS = {
    "one": [np.array([3, 1, 4, 5, 9], np.int32), np.array([2, 6], np.int32)],
    "two": [np.array([7, 3, 8], np.int32), np.array([6, 0, 1], np.int32)],
}


def test_what_a_source_alone_finds_is_lost_without_it():
    figures = judged(LISTS, np.array([[7, 3], [2, -1]], np.int32), {"one": 1.0, "two": 1.0})
    assert figures["union"]["recall@1000"] == 1.0
    assert figures["without"]["two"]["recall@1000"] == 0.75
    assert figures["without"]["two"]["union is better by"] == pytest.approx(0.25)
    assert figures["alone"]["one"]["recall@1000"] == 0.75
    assert figures["above the best alone"] == pytest.approx(1 / 3)


def test_a_study_is_complete_plain_and_repeats(monkeypatch):
    monkeypatch.setattr(sources, "CANDIDATES", 20)
    dataset, _ = simulate(users=120, items=90, seed=4, sessions=5.0)
    found = study(dataset, CONFIG, [0])
    trial = found["trials"][0]
    assert set(trial["alone"]) == {*GRID, SUMMED}
    assert set(trial["without"]) == set(trial["quotas"]) == set(GRID)
    assert trial["trending half-life, days"] in sources.HALF_LIVES_DAYS
    for line in (trial["union"], *trial["alone"].values()):
        assert 0 < line["size"] <= 20
        assert line["recall@100"] <= line["recall@500"] <= line["recall@1000"]
    assert study(dataset, CONFIG, [0])["trials"][0] == trial
    json.dumps(found, allow_nan=False)


def test_made_up_times_have_no_trend(monkeypatch):
    monkeypatch.setattr(sources, "CANDIDATES", 20)
    dataset, _ = simulate(users=120, items=90, seed=4, sessions=5.0)
    trial = study(replace(dataset, order="sequence"), CONFIG, [0])["trials"][0]
    assert trial["trending half-life, days"] is None
    assert "trending" not in trial["alone"]
    assert "trending" not in trial["quotas"]
