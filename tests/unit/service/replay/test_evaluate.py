from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.data.dataset import write_dataset
from service.cascade.candidates import Candidates
from service.replay.command import SINGLE, main
from service.replay.replay import fused
from service.replay.table import tables
from tests.support.trained import TrainedWorld, trained_world

__all__ = ["trained_world"]


@pytest.fixture(scope="module")
def folder(trained_world: TrainedWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated") / "data"
    write_dataset(folder, trained_world.dataset)
    return folder


@pytest.fixture(scope="module")
def found(trained_world: TrainedWorld, folder: Path) -> dict[str, Any]:
    told = folder.parent / "figures.json"
    words = [str(folder), "--bundle", str(trained_world.bundle), "--baselines", "popularity"]
    words += ["--against", SINGLE]
    assert main([*words, "--json", str(told)]) == 0
    answer: dict[str, Any] = json.loads(told.read_text())
    return answer


def test_every_list_is_compared_with_the_final_one(found: dict[str, Any]) -> None:
    assert set(found["final list against"]) == set(found["lists"]) - {"final list"}
    assert {"fusion of the sources", "pre-ranker's order", "retrieval's order"} <= set(found["lists"])
    for name, test in found["final list against"].items():
        difference = found["lists"]["final list"]["NDCG@10"] - found["lists"][name]["NDCG@10"]
        assert test["NDCG@10 difference"] == pytest.approx(difference)


def test_a_ranker_in_single_precision_is_judged_beside_the_bundles(found: dict[str, Any]) -> None:
    own, other = found["ranker"], found["ranker against"][f"final list, {SINGLE}"]
    assert other["candidates"] == own["candidates"]
    assert other["AUC"] == pytest.approx(own["AUC"], abs=0.01)
    assert re.search(rf"\| figure +\| +value \| +{SINGLE} \|", tables(found))


def test_stages_say_what_each_adds_and_costs(found: dict[str, Any]) -> None:
    stages = found["stages"]
    assert set(stages) == {"retrieval", "pre-ranking", "ranking"}
    assert stages["ranking"]["NDCG@10"] == pytest.approx(found["lists"]["final list"]["NDCG@10"])
    added = stages["ranking"]["NDCG@10"] - stages["pre-ranking"]["NDCG@10"]
    assert stages["ranking"]["NDCG@10 added"] == pytest.approx(added)
    stated = {name for name in found["timings_ms"] if not name.startswith(("select.diversity", "total"))}
    spent = sum(found["timings_ms"][name] for name in stated)
    assert sum(stage["ms"] for stage in stages.values()) == pytest.approx(spent, rel=0.1, abs=0.1)


def test_fusion_puts_first_what_several_sources_like() -> None:
    batch = Candidates.of(
        np.array([4, 7, 9], np.int32),
        interests_score=np.array([0.9, 0.8, np.nan], np.float32),
        similar_score=np.array([np.nan, 3.0, 4.0], np.float32),
        popular_score=np.array([9.0, 1.0, 9.0], np.float32),
    )
    assert fused(batch).tolist() == [7, 4, 9]
    assert fused(Candidates.of(np.array([5, 3], np.int32))).tolist() == [5, 3]


def test_another_data_set_is_refused(trained_world: TrainedWorld, tmp_path: Path, capsys: Any) -> None:
    value = trained_world.dataset.event_value.copy()
    value[0] = 3.0
    write_dataset(tmp_path / "other", replace(trained_world.dataset, event_value=value))
    assert main([str(tmp_path / "other"), "--bundle", str(trained_world.bundle)]) == 2
    assert "its test events could be training events" in capsys.readouterr().err


def test_fewer_requests_are_spread_over_the_users(
    trained_world: TrainedWorld, folder: Path, tmp_path: Path, found: dict[str, Any]
) -> None:
    words = [str(folder), "--bundle", str(trained_world.bundle), "--baselines", ""]
    assert main([*words, "--requests", "7", "--json", str(tmp_path / "few.json")]) == 0
    assert json.loads((tmp_path / "few.json").read_text())["requests"] == 7
    assert main([*words, "--requests", "100000", "--json", str(tmp_path / "all.json")]) == 0
    assert json.loads((tmp_path / "all.json").read_text())["requests"] == found["requests"]


def test_one_request_is_refused(trained_world: TrainedWorld, folder: Path, capsys: Any) -> None:
    assert main([str(folder), "--bundle", str(trained_world.bundle), "--requests", "1"]) == 2
    assert "--requests 1: at least 2" in capsys.readouterr().err
