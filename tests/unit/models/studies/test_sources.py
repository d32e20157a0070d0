import json
from dataclasses import replace

import numpy as np
import pytest

from models.data.simulator import simulate
from models.studies import sources
from models.studies.sources import GRID, SUMMED, best_quotas, judged, recall_of, study, union
from models.training.config import TrainConfig
from service.cascade.candidates import Candidates
from service.cascade.merge import merge

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


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(sources, "CANDIDATES", 4)


def test_the_union_is_the_one_that_serving_makes(few):
    quotas = {"one": 0.75, "two": 0.5}
    found = union(LISTS, quotas)
    for r in range(2):
        served = merge(
            {
                name: Candidates.of(
                    rows[: int(np.ceil(4 * quotas[name]))],
                    score=-np.arange(len(rows[: int(np.ceil(4 * quotas[name]))]), dtype=np.float32),
                )
                for name, rows in ((name, lists[r]) for name, lists in LISTS.items())
            },
            ("one", "two"),
            quotas,
        )
        assert found[r].tolist() == served.rows[:4].tolist()


def test_a_source_without_a_quota_proposes_nothing(few):
    assert [rows.tolist() for rows in union(LISTS, {"one": 1.0, "two": 0.0})] == [[3, 1, 4, 5], [2, 6]]


def test_recall_is_the_share_of_what_was_relevant():
    relevant = np.array([[4, 9], [6, -1]], np.int32)
    assert recall_of(LISTS["one"], relevant, 3).tolist() == [0.5, 1.0]
    assert recall_of(LISTS["one"], relevant, 1).tolist() == [0.0, 0.0]
    assert recall_of(LISTS["one"], relevant, 5).tolist() == [1.0, 1.0]


def test_the_quotas_are_those_that_find_most(few, monkeypatch):
    monkeypatch.setattr(sources, "GRID", {"one": (0.0, 1.0), "two": (0.0, 1.0), "absent": (1.0,)})
    quotas, found = best_quotas(LISTS, np.array([[7, 8], [0, -1]], np.int32))
    assert (quotas, found) == ({"one": 0.0, "two": 1.0}, 1.0)


def test_what_a_source_alone_finds_is_lost_without_it(few):
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
