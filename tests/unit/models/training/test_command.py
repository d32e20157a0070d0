from __future__ import annotations

from pathlib import Path

import pytest

from models.data.dataset import write_dataset
from models.data.simulator import simulate
from models.training.command import main
from models.training.run_folder import read_run
from tests.unit.models.data.tiny import events_dataset

TOML = """
seed = 3
threads = 1
history_length = 12
[tower]
dim = 8
layers = 1
epochs = 1
[preranker]
dim = 8
interests = 2
iterations = 1
epochs = 1
[ranker]
dim = 8
experts = 2
hidden = [8, 4]
activation = 4
candidates = 8
epochs = 1
[retrieval]
clusters = 4
[plan]
candidates = 40
ranked = 20
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "simulated"
    write_dataset(folder, simulate(users=120, items=60, seed=5, sessions=5.0)[0])
    return folder


def test_it_trains_and_says_what_validation_says(data, tmp_path, capsys):
    config = tmp_path / "train.toml"
    config.write_text(TOML)
    out = tmp_path / "run"
    assert main([str(data), "--out", str(out), "--config", str(config), "--seed", "9"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("validation of simulated-120-60-5, seed 9\n")
    for name in (
        "tower_ndcg@10",
        "recall_preranked",
        "final_ndcg@10",
        "calibration_log_loss",
        "seconds: towers",
    ):
        assert name in told
    assert "40 candidates -> 20 ranked" in told
    assert told.endswith(f"wrote the run to {out}\n")
    run = read_run(out)
    assert (run.config.seed, run.config.tower.dim) == (9, 8)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[tower]\nencoder = 'magic'", "tower.encoder: unknown name 'magic'"),
        ("[tower]\ndept = 1", "tower.dept: Extra inputs"),
    ],
)
def test_a_wrong_configuration_is_one_line(data, tmp_path, capsys, toml, said):
    config = tmp_path / "train.toml"
    config.write_text(toml)
    assert main([str(data), "--out", str(tmp_path / "run"), "--config", str(config)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("cascada train: ")
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_no_data_set_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "none"), "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_run_that_is_there_is_not_overwritten(data, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    assert main([str(data), "--out", str(tmp_path / "run")]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_data_set_that_is_too_small_is_one_line(tmp_path, capsys):
    write_dataset(tmp_path / "data", events_dataset([0, 0, 0], [0, 1, 2], range(3)))
    config = tmp_path / "train.toml"
    config.write_text("threads = 1")
    assert main([str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--config", str(config)]) == 2
    error = capsys.readouterr().err
    assert "too small" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
