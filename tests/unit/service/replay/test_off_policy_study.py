from __future__ import annotations

from pathlib import Path

import pytest

from models.data.dataset import write_dataset
from models.data.simulator import simulate
from models.training.config import TrainConfig
from service.replay import off_policy_study
from service.replay.command import main
from tests.unit.models.studies.test_off_policy import bandit_folder


def test_the_study_tells_every_part_in_a_table(tmp_path: Path) -> None:
    dataset, _ = simulate(users=100, items=40, seed=1)
    bandit = bandit_folder(tmp_path, rows=500)
    found = off_policy_study.study(dataset, TrainConfig(), [0, 1], bandit=bandit, redraws=9, worlds=2)
    told = off_policy_study.tell(found)
    rows = [line.split("|")[1].strip() for line in told.splitlines() if line.startswith("|")]
    assert {"uniform", "by clicks", "all", "men", "women"} <= set(rows)
    assert {"uniform, seed 0", "own topic, seed 1", "seed 0", "seed 1"} <= set(rows)
    assert {"300 requests, not exploring", "3,000 requests, width 2"} <= set(rows)
    without = {**found, "open bandit": None}
    assert "Open Bandit" not in off_policy_study.tell(without)


def test_bad_input_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset, _ = simulate(users=100, items=40, seed=1)
    write_dataset(tmp_path / "world", dataset)
    study = [str(tmp_path / "world"), "--study", "off-policy", "--bandit", str(tmp_path / "nothing")]
    assert main(study) == 2
    assert "obp" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(tmp_path / "world"), "--study", "cold", "--bandit", str(tmp_path)])
    assert "--bandit goes with --study off-policy" in capsys.readouterr().err
