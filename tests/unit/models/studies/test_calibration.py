from pathlib import Path

import numpy as np
import pytest

from models.data.auctions import simulate_auctions
from models.data.problems import DataError
from models.studies.calibration import RAW, judged, logs_of, read_scores, study
from models.training.config import TrainConfig
from ranking.choosing import Samples
from service.replay.calibration_tables import draw_calibration, tell_calibration

CONFIG = TrainConfig.model_validate(
    {
        "threads": 1,
        "history_length": 4,
        "ranker": {
            "dim": 4,
            "experts": 1,
            "hidden": [4, 4],
            "activation": 2,
            "epochs": 1,
            "contrast_weight": 0.0,
        },
    }
)


def log(count, seed, factor=3.0):
    """Scores that promise `factor` times as much as comes."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-2.5, 0.7, count)
    return Samples(logits, (rng.random(count) < 1 / (1 + np.exp(-logits)) / factor).astype(float))


def test_scores_that_promise_too_much_are_mended_on_the_newest_samples():
    found = judged(log(20_000, 0), log(20_000, 1))
    raw, chosen = found["methods"][RAW], list(found["methods"].values())[-1]
    assert raw["COPC"] == pytest.approx(3.0, abs=0.3)
    assert raw["COPC low"] > 1
    assert chosen["COPC low"] < 1 < chosen["COPC high"]
    assert chosen["ECE"] < 0.01 < raw["ECE"]
    assert chosen["log loss above raw"] + 2 * chosen["error"] < 0


def write(folder: Path, name: str, samples: Samples) -> None:
    folder.mkdir(exist_ok=True)
    chance = 1 / (1 + np.exp(-samples.logits))
    lines = [f"{int(y)} 70 {p!r}" for y, p in zip(samples.labels.tolist(), chance.tolist(), strict=True)]
    (folder / name).write_text("\n".join(lines) + "\n")


def test_the_study_tells_and_draws_what_it_found(tmp_path):
    write(tmp_path / "campaign", "train.txt", log(3000, 0))
    write(tmp_path / "campaign", "test.txt", log(3000, 1))
    write(tmp_path / "halved", "test.txt", log(3000, 2))
    dataset, _ = simulate_auctions(12_000, 3, users=200, advertisers=10, days=3)
    found = study(dataset, CONFIG, [0], scores=tmp_path)
    told = tell_calibration(found)
    for words in (
        "campaign: calibrated on 3,000",
        "halved: calibrated on 1,500",
        "| temperature",
        "COPC at placement",
    ):
        assert words in told
    assert told.count("COPC's interval holds 1") == 2
    assert draw_calibration(found, "svg").lstrip().startswith(b"<?xml")


@pytest.mark.parametrize("line", ["1", "2 70 0.5", "0 70 1.5", "0 70 nan", "a b c"])
def test_a_line_that_is_no_score_is_named(tmp_path, line):
    (tmp_path / "test.txt").write_text(f"0 70 0.1\n{line}\n")
    with pytest.raises(DataError, match=r"test\.txt:2: .*click"):
        read_scores(tmp_path / "test.txt")


def test_a_folder_without_scores_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no test\.txt"):
        logs_of(tmp_path)
