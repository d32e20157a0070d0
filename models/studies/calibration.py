"""`cascada evaluate --study calibration`: which calibrator makes click probabilities honest.

Scores are a model's of impressions in order of time: trained on the oldest, calibrated on later ones, judged
on the newest. With `scores`, logs that have a score already (click, price, score per line) are judged, too.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.columns import Dataset
from models.data.problems import DataError
from models.data.vocabulary import build_schema
from models.studies.towers import Fit
from models.training.config import TrainConfig
from models.training.features import Features
from models.training.ground import deterministic
from models.training.impressions import train_impressions
from models.training.shown import sponsored
from ranking.calibration import calibrators
from ranking.choosing import Samples, choose_kind, fit_calibration
from ranking.reliability import copc_interval, reliability
from ranking.samples import log_odds, sigmoid
from retrieval.metrics import ece, log_loss, mean_and_error

Doubles = NDArray[np.float64]

TRAINED, CALIBRATED = 0.5, 0.75
"""The model learns from the older half of the impressions, calibrators from the next quarter."""
VALIDATED = 0.1
"""Share of the model's own part, the newest, that chooses its epoch."""
THINNED = 100_000
"""Impressions that the model is trained on at most, evenly spread."""
LEAST = 5e-7
"""Scores are printed with six places: one of 0 is below half of the last."""
RAW, CHOSEN, COMMON = "raw score", "chosen, per placement", "chosen, common"


def study(
    dataset: Dataset,
    config: TrainConfig,
    seeds: Sequence[int],
    *,
    fit: Fit = "refit",
    scores: Path | None = None,
) -> dict[str, Any]:
    """Figures on the newest impressions, of each kind and of the one that is chosen; plain JSON types.

    `fit` changes nothing: nothing is refitted. `scores` is a folder as `logs_of` says.

    Raises:
        ValueError: the data set has no sponsored impressions, or none of a part was clicked.
        DataError: a line of a file of scores is not three numbers; names it.
    """
    logs = {} if scores is None else logs_of(scores)
    trials = []
    for seed in seeds:
        deterministic(config.threads, seed)
        trials.append(judged(*simulated(dataset, config, seed)))
    return {
        "dataset": dataset.name,
        "seeds": list(seeds),
        "impressions": 0 if dataset.impressions is None else len(dataset.impressions),
        "config": config.model_dump(mode="json", exclude_defaults=True),
        "trials": trials,
        "logs": {name: judged(*parts) for name, parts in logs.items()},
    }


def simulated(dataset: Dataset, config: TrainConfig, seed: int) -> tuple[Samples, Samples]:
    """Logits of a model of impressions, without places as serving has them: of the part that calibrates, and
    of the newest."""
    known = np.arange(dataset.events)
    features = Features.of(dataset, build_schema(dataset, known, history_length=config.history_length))
    shown = sponsored(dataset, features.timeline)
    order = np.argsort(shown.requests.now_ms, kind="stable")
    trained, rest = np.split(order, [round(len(order) * TRAINED)])
    own = shown.at(_thinned(trained))
    cut = round(len(own) * (1 - VALIDATED))
    learnt, validated = own.at(slice(None, cut)), own.at(slice(cut, None))
    model = train_impressions(features, learnt, validated, config.ranker, config.auction, seed)
    later = shown.at(rest)
    logits = model.logits(later.requests).astype(np.float64)
    names = np.array(dataset.placements)[later.requests.placement]
    samples = Samples(logits, later.clicked.astype(np.float64), names)
    return samples.cut(round(len(order) * (CALIBRATED - TRAINED)))


def judged(older: Samples, newest: Samples) -> dict[str, Any]:
    """Fit on the older samples, judge on the newest, which choose nothing.

    Raises:
        ValueError: one of the two has no click.
    """
    if not (older.labels.any() and newest.labels.any()):
        raise ValueError("no click to calibrate with, or none to judge by; more impressions are needed")
    kinds = sorted(calibrators)
    calibration, tried = fit_calibration(older, kinds)
    chances: dict[str, Doubles] = {RAW: sigmoid(newest.logits)}
    for kind in kinds:
        chances[kind] = calibrators[kind].fit(older.logits, older.labels)(newest.logits)
    chances[COMMON] = calibration.common(newest.logits)
    if calibration.placements:
        chances[CHOSEN] = newest.calibrated(calibration)
    later = older.cut(round(len(older) * 0.6))[1]
    return {
        "samples": {"older": len(older), "newest": len(newest)},
        "clicks": {"older": float(older.labels.sum()), "newest": float(newest.labels.sum())},
        "chosen": choose_kind(tried, later),
        "placements": {name: one.kind for name, one in calibration.placements.items()},
        "methods": {name: figures(newest, chance, chances[RAW]) for name, chance in chances.items()},
        "by placement": _places(newest, chances),
        "curves": {name: curve(newest.labels, chances[name]) for name in (RAW, _best(chances))},
    }


def figures(samples: Samples, chance: Doubles, raw: Doubles) -> dict[str, Any]:
    """Log loss, ECE and COPC with its 95% interval; and by how much the log loss is above the raw score's."""
    copc = copc_interval(float(chance.sum()), float(samples.labels.sum()))
    ours, theirs = (_losses(samples.labels, each) for each in (chance, raw))
    mean, error = mean_and_error(ours - theirs)
    return {
        "log loss": log_loss(samples.labels, chance),
        "ECE": ece(samples.labels, chance),
        "COPC": copc.value,
        "COPC low": copc.low,
        "COPC high": copc.high,
        "log loss above raw": mean,
        "error": error,
    }


def curve(labels: Doubles, chance: Doubles) -> list[dict[str, float]]:
    """The bins of a reliability plot as plain JSON types."""
    return [
        {"predicted": one.predicted, "observed": one.observed, "low": one.low, "high": one.high}
        for one in reliability(labels, chance)
    ]


def logs_of(scores: Path) -> dict[str, tuple[Samples, Samples]]:
    """The logs of scores below a folder, by the folder that holds each: older samples and newest ones.

    `train.txt` calibrates what `test.txt` judges; a `test.txt` by itself is cut in half. Both may be packed
    (`.gz`).

    Raises:
        DataError: there is none, or a line cannot be read.
    """
    found = {}
    for test in sorted([*scores.rglob("test.txt"), *scores.rglob("test.txt.gz")]):
        train = test.with_name(test.name.replace("test", "train", 1))
        newest = read_scores(test)
        older, newest = (read_scores(train), newest) if train.is_file() else newest.cut(len(newest) // 2)
        found[test.parent.name] = (older, newest)
    if not found:
        raise DataError(f"{scores}: no test.txt with lines `click market_price score` in it or below")
    return found


def read_scores(path: Path) -> Samples:
    """A log of won auctions with scores: a line is a click (0 or 1), a price and a score in 0..1, and more.

    Raises:
        DataError: a line is something else; names file and line.
    """
    labels, scores = [], []
    packed = path.suffix == ".gz"
    text = (gzip.decompress(path.read_bytes()) if packed else path.read_bytes()).decode()
    for number, line in enumerate(text.splitlines(), 1):
        parts = line.split()
        try:
            click, score = int(parts[0]), float(parts[2])
        except (IndexError, ValueError):
            raise DataError(
                f"{path}:{number}: expected `click market_price score`, got {line[:60]!r}"
            ) from None
        if click not in (0, 1) or not 0 <= score <= 1:
            raise DataError(f"{path}:{number}: a click is 0 or 1 and a score in 0..1, got {line[:60]!r}")
        labels.append(float(click))
        scores.append(min(max(score, LEAST), 1 - LEAST))
    return Samples(log_odds(np.array(scores)), np.array(labels))


def _thinned(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(rows) <= THINNED:
        return rows
    return rows[np.linspace(0, len(rows) - 1, THINNED).astype(np.int64)]


def _best(chances: Mapping[str, Doubles]) -> str:
    return CHOSEN if CHOSEN in chances else COMMON


def _places(samples: Samples, chances: Mapping[str, Doubles]) -> dict[str, dict[str, list[float]]]:
    """COPC and its limits by placement, of the raw score and of what is chosen."""
    if samples.placement is None:
        return {}
    found: dict[str, dict[str, list[float]]] = {}
    for name in np.unique(samples.placement).tolist():
        here = samples.placement == name
        clicks = float(samples.labels[here].sum())
        found[name] = {}
        for method in (RAW, COMMON, CHOSEN):
            if method in chances and clicks:
                copc = copc_interval(float(chances[method][here].sum()), clicks)
                found[name][method] = [copc.value, copc.low, copc.high]
    return found


def _losses(labels: Doubles, chance: Doubles) -> Doubles:
    p = np.clip(chance, 1e-7, 1 - 1e-7)
    found: Doubles = -(labels * np.log(p) + (1 - labels) * np.log1p(-p))
    return found
