"""`cascada evaluate --study tower`: the towers alone over the whole catalogue, on events they never saw."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.data.columns import Dataset
from models.data.splits import Split, known_items
from models.data.vocabulary import build_schema
from models.studies.memory import PeakMemory
from models.training.batches import in_blocks
from models.training.config import TrainConfig
from models.training.features import Features
from models.training.ground import deterministic, thinned
from models.training.held_out import HeldOut, held_out
from models.training.tower import Towers, train_towers
from retrieval.metrics import mean_and_error, ranking_metrics, recall
from retrieval.order import best_rows

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]

Fit = Literal["refit", "validate", "final"]
"""validate: train, and keep the epoch that validation likes best. refit: then train once more, on training
and validation events, for as many epochs. final: only the latter, for the configured epochs."""
LIST = 100
METRICS = ("HR@10", "NDCG@10", "Recall@20", "NDCG@20", "HR@100")
VALIDATION_REQUESTS = 5000
LEAST_USERS = 2
"""Fewer have no standard error and no paired test."""
_BLOCK = 512


@dataclass(frozen=True)
class Trial:
    """One seed: the towers, and what they were trained and judged with."""

    seed: int
    features: Features
    split: Split
    towers: Towers
    validation_ndcg: float | None
    """None where validation was trained on from the start."""
    seconds: float
    memory_gb: float


def study(
    dataset: Dataset, config: TrainConfig, seeds: Sequence[int], *, fit: Fit = "refit"
) -> dict[str, Any]:
    """Train on each seed, judge on the test events; plain JSON types.

    `fit` says on what, see `Fit`.
    """
    trials = []
    for seed in seeds:
        trial = run(dataset, config, seed, fit)
        trials.append(
            {
                "seed": seed,
                "validation NDCG@10": trial.validation_ndcg,
                "seconds": round(trial.seconds),
                "peak GB": trial.memory_gb,
                **judged(trial),
            }
        )
    return {
        "dataset": dataset.name,
        "protocol": config.split.protocol,
        "fit": fit,
        "config": config.model_dump(mode="json", exclude_defaults=True),
        "trials": trials,
    }


def run(dataset: Dataset, config: TrainConfig, seed: int, fit: Fit, *, strangers: bool = False) -> Trial:
    """Train towers as `cascada train` does, and perhaps refit them.

    Raises:
        ValueError: the test has too few users with a history to judge anything, unless `strangers` are to be
            judged.
    """
    deterministic(config.threads, seed)
    split = config.split.apply(dataset)
    schema = build_schema(dataset, split.train, history_length=config.history_length)
    features = Features.of(dataset, schema)
    warm = int(held_out(features.timeline, split.test).warm.sum())
    if warm < LEAST_USERS and not strangers:
        raise ValueError(
            f"{dataset.name}: {config.split.protocol} leaves {warm} test users with a history and "
            f"an item that is new to them, {LEAST_USERS} are needed"
        )
    validation = thinned(features.timeline.requests(split.validation), VALIDATION_REQUESTS)
    start = time.perf_counter()
    with PeakMemory() as memory:
        best, tower = None, config.tower
        if fit != "final":
            towers = train_towers(features, split.train, validation, tower, seed)
            best, tower = towers.best, tower.model_copy(update={"epochs": towers.epoch})
        if fit != "validate":
            nobody = validation.at(slice(0, 0))
            towers = train_towers(features, split.train_and_validation, nobody, tower, seed)
    return Trial(seed, features, split, towers, best, time.perf_counter() - start, memory.gigabytes)


def judged(trial: Trial) -> dict[str, Any]:
    """Means over the warm users of the test, their standard errors, and how well cold items are found."""
    requests = held_out(trial.features.timeline, trial.split.test)
    warm = np.flatnonzero(requests.warm)
    ranked = lists(trial.towers, trial.features, requests.at(warm), LIST)
    relevant = requests.relevant[warm]
    values = ranking_metrics(ranked, relevant)
    found: dict[str, Any] = {"users": len(warm)}
    for name in METRICS:
        found[name], found[f"{name} error"] = mean_and_error(values[name])
    known = known_items(trial.features.dataset, trial.split.train_and_validation)
    return found | _cold(ranked, np.where(known[relevant] | (relevant < 0), -1, relevant))


def lists(towers: Towers, features: Features, requests: HeldOut, size: int) -> Rows:
    """The best `size` items of each request over the whole catalogue, what the user has met left out."""
    vectors = towers.item_vectors()
    asked = requests.requests()
    ranked = np.full((len(asked), size), -1, np.int32)
    for block in in_blocks(len(asked), _BLOCK):
        part = asked.at(block)
        scores = towers.user_vectors(features.batch(part)) @ vectors.T
        for row, seen in enumerate(features.timeline.seen(part)):
            scores[row, seen] = -np.inf
        best = best_rows(scores, size)
        ranked[block, : best.shape[1]] = best
    return ranked


def _cold(ranked: Rows, relevant: Rows) -> dict[str, Any]:
    """Of users who went for items without a past: how many such items the lists hold."""
    some = (relevant >= 0).any(axis=1)
    if not some.any():
        return {}
    packed = np.sort(relevant[some], axis=1)[:, ::-1].copy()
    return {
        "users with cold items": int(some.sum()),
        "cold items": int((packed >= 0).sum()),
        "cold Recall@20": float(recall(ranked[some], packed, 20).mean()),
        "cold Recall@100": float(recall(ranked[some], packed, 100).mean()),
    }
