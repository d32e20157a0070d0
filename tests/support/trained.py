"""A cascade that was really trained and exported, on a tiny simulated world, once per test session."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from models.data.columns import Dataset
from models.data.simulator import simulate
from models.data.truth import Truth
from models.export.bundle import write_bundle
from models.training.config import TrainConfig
from models.training.run import Trained, train
from models.training.run_folder import read_run, write_run

CONFIG = TrainConfig.model_validate(
    {
        "seed": 3,
        "threads": 1,
        "history_length": 12,
        "split": {"ranker_events": 2},
        "tower": {"dim": 16, "layers": 1, "epochs": 3, "batch": 32, "learning_rate": 0.01},
        "query": {"buckets": 512, "hidden": 16, "epochs": 2},
        "retrieval": {"clusters": 8, "neighbours": 20},
        "preranker": {"dim": 16, "interests": 3, "iterations": 1, "epochs": 1},
        "ranker": {
            "dim": 8,
            "experts": 2,
            "hidden": [16, 8],
            "activation": 8,
            "candidates": 20,
            "warmup_epochs": 1,
            "epochs": 1,
        },
        "plan": {"candidates": 60, "ranked": 30, "interests": 4, "neighbours": 10},
    }
)
WHEN = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class TrainedWorld:
    """The world, what was trained on it, and where the run and its bundle are."""

    dataset: Dataset
    truth: Truth
    trained: Trained
    run: Path
    bundle: Path


@cache
def train_tiny(folder: Path) -> TrainedWorld:
    """Train once, write the run `folder / run` and export it below `folder / bundles`."""
    dataset, truth = simulate(users=200, items=150, seed=11, sessions=6.0)
    trained = train(dataset, CONFIG)
    write_run(folder / "run", trained)
    bundle = write_bundle(read_run(folder / "run"), folder / "bundles", WHEN)
    return TrainedWorld(dataset, truth, trained, folder / "run", bundle)


@pytest.fixture(scope="session")
def trained_world(tmp_path_factory: pytest.TempPathFactory) -> TrainedWorld:
    """One tiny training run and its bundle."""
    # Several folders of tests have this fixture; they share what the first of them asked for.
    return train_tiny(tmp_path_factory.getbasetemp() / "trained")


@pytest.fixture(scope="session")
def trained_bundle(trained_world: TrainedWorld) -> Path:
    """The folder of a bundle that was really trained and exported."""
    return trained_world.bundle
