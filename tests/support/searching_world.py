"""A world in which one word turns a user's taste round: the word alone, or the user alone, says nothing.

Trained and exported once per test session.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from models.data.columns import Dataset, Queries
from models.export.bundle import write_bundle
from models.networks.aw_moe import AwMoe
from models.training.config import TrainConfig
from models.training.run import Trained, train
from models.training.run_folder import read_run, write_run
from tests.unit.models.data.tiny import events_dataset

USERS, ITEMS = 240, 40
HABITS, ASKED = 10, 6
"""Events of each user: those of habit, then those that searches brought."""
SIDES = 2
AGAIN, CHANGE = "again", "change"
"""Who searches for the one takes what he always takes, who searches for the other takes the opposite."""
HOUR_MS = 3_600_000

CONFIG = TrainConfig.model_validate(
    {
        "seed": 5,
        "threads": 1,
        "refit": False,
        "history_length": 16,
        "split": {"ranker_events": 4},
        "tower": {"dim": 16, "layers": 1, "epochs": 3, "batch": 32, "learning_rate": 0.01},
        "query": {"buckets": 512, "hidden": 16, "epochs": 3},
        "retrieval": {"clusters": 4, "neighbours": 20, "factors": 0},
        "complements": {"epochs": 0},
        "preranker": {"dim": 16, "interests": 2, "iterations": 1, "epochs": 1},
        "ranker": {
            "dim": 8,
            "experts": 2,
            "hidden": [16, 8],
            "activation": 8,
            "candidates": 20,
            "dropout": 0.0,
            "learning_rate": 0.003,
            "epochs": 1,
            "search_epochs": 12,
        },
        "plan": {"candidates": ITEMS, "ranked": ITEMS, "interests": 2, "search": {"rank": 1.0}},
    }
)


def side(row: int) -> int:
    """The side that an item is on: items take turns."""
    return row % SIDES


def searching_world(seed: int = 1) -> Dataset:
    """Users keep to one side, but for searches: half of those, at random, are for a change."""
    random = np.random.default_rng(seed)
    user = np.repeat(np.arange(USERS), HABITS + ASKED)
    step = np.tile(np.arange(HABITS + ASKED), USERS)
    change = (random.random(len(user)) < 0.5) & (step >= HABITS)
    pairs = [random.permutation(ITEMS // SIDES)[: HABITS + ASKED] for _ in range(USERS)]
    item = SIDES * np.concatenate(pairs) + (user + change) % SIDES
    # All users live side by side, an hour between any two events.
    order = np.argsort(step * USERS + user)
    time_ms = np.arange(len(user), dtype=np.int64) * HOUR_MS
    dataset = events_dataset(user[order], item[order], time_ms)
    asked = np.flatnonzero(step[order] >= HABITS)
    texts = [CHANGE if one else AGAIN for one in change[order][asked].tolist()]
    queries = Queries(texts, dataset.event_user[asked], dataset.event_item[asked], time_ms[asked])
    records = [{"title": f"number {row}"} for row in range(ITEMS)]
    return replace(dataset, item_records=records, queries=queries)


@dataclass(frozen=True)
class Searching:
    """What was trained, and the folders of a bundle each: of the ranker, and of one that reads no queries."""

    trained: Trained
    bundle: Path
    deaf: Path


@cache
def train_searching(folder: Path) -> Searching:
    """Train once, and export below `folder`."""
    trained = train(searching_world(), CONFIG)
    deaf = replace(trained, ranker=replace(trained.ranker, ranker=deafened(trained)))
    return Searching(trained, _bundle(trained, folder / "hears"), _bundle(deaf, folder / "deaf"))


def deafened(trained: Trained) -> AwMoe:
    """The same ranker, which takes every request for a recommendation."""
    network = copy.deepcopy(trained.ranker.ranker)
    network.knows_queries.zero_()
    return network


def _bundle(trained: Trained, folder: Path) -> Path:
    write_run(folder / "run", trained)
    return write_bundle(read_run(folder / "run"), folder / "bundles", datetime(2024, 1, 1, tzinfo=UTC))


@pytest.fixture(scope="session")
def searching(tmp_path_factory: pytest.TempPathFactory) -> Searching:
    """The world's training and its bundles."""
    return train_searching(tmp_path_factory.getbasetemp() / "searching")
