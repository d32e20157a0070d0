"""`cascada evaluate --study cold`: users without any past, before and after their first event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.columns import Dataset
from models.encode import encode_records
from models.studies.towers import LIST, Fit, Trial, lists, run
from models.training.config import TrainConfig
from models.training.features import Features
from models.training.held_out import HeldOut, held_out
from models.training.timeline import Timeline
from retrieval.metrics import mean_and_error, paired_test, ranking_metrics

Rows = NDArray[np.int32]

METRICS = ("HR@10", "Recall@20", "NDCG@20", "HR@100")
TESTED = "Recall@20"
POPULARITY = {"popularity": None, "popularity of the last 90 days": 90.0}
"""What a service shows to strangers without any model: all known events count, or those of so many days."""
UNPROFILED = "towers, profiles hidden"
"""What the profile is worth: the same users as if nothing were known of them but their events."""
LEAST_USERS = 2
_DAY_MS = 86_400_000


def study(
    dataset: Dataset, config: TrainConfig, seeds: Sequence[int], *, fit: Fit = "refit"
) -> dict[str, Any]:
    """Train towers on each seed, judge them on the test's cold users beside popularity; plain JSON types.

    Raises:
        ValueError: the test has too few users without a history.
    """
    trials = []
    for seed in seeds:
        trial = run(dataset, config, seed, fit, strangers=True)
        trials.append({"seed": seed, "seconds": round(trial.seconds), **judged(trial)})
    return {
        "dataset": dataset.name,
        "protocol": config.split.protocol,
        "fit": fit,
        "config": config.model_dump(mode="json", exclude_defaults=True),
        "trials": trials,
    }


def judged(trial: Trial) -> dict[str, Any]:
    """Per situation the users and each method's figures; `p` of a paired test against the towers.

    Raises:
        ValueError: as `study`.
    """
    timeline = trial.features.timeline
    requests = held_out(timeline, trial.split.test)
    strangers = requests.at(np.flatnonzero(~requests.warm))
    if len(strangers) < LEAST_USERS:
        raise ValueError(
            f"{trial.features.dataset.name}: the test has {len(strangers)} users without a history, "
            f"{LEAST_USERS} are needed; global-time and leave-users-out leave some"
        )
    situations = {"nothing is known": strangers, "after the first event": after_first(timeline, strangers)}
    return {
        "situations": {
            name: {"users": len(asked), **_methods(trial, asked)}
            for name, asked in situations.items()
            if len(asked) >= LEAST_USERS
        }
    }


def after_first(timeline: Timeline, strangers: HeldOut) -> HeldOut:
    """The same users with the first of their test events as history, asked at once; relevant is the rest.

    Who went for one item only has no request.
    """
    first = timeline.item[strangers.begin]
    relevant = np.where(strangers.relevant == first[:, None], -1, strangers.relevant)
    relevant = np.sort(relevant, axis=1)[:, ::-1].copy()
    asked = HeldOut(
        strangers.user,
        timeline.time_ms[strangers.begin],
        relevant,
        strangers.begin,
        strangers.begin + 1,
    )
    return asked.at(np.flatnonzero(relevant[:, 0] >= 0))


def _methods(trial: Trial, asked: HeldOut) -> dict[str, Any]:
    features = trial.features
    ranked = {"towers": lists(trial.towers, features, asked, LIST)}
    if features.schema.user_fields:
        ranked[UNPROFILED] = lists(trial.towers, unprofiled(features), asked, LIST)
    for name, days in POPULARITY.items():
        ranked[name] = most_popular(trial, asked, days)
    values = {name: ranking_metrics(each, asked.relevant) for name, each in ranked.items()}
    found: dict[str, Any] = {}
    for name, metrics in values.items():
        line: dict[str, Any] = {}
        for metric in METRICS:
            line[metric], line[f"{metric} error"] = mean_and_error(metrics[metric])
        test = paired_test(values["towers"][TESTED], metrics[TESTED])
        line["towers are better by"], line["p"] = test.difference, test.p_value
        found[name] = line
    return {"methods": found}


def unprofiled(features: Features) -> Features:
    """The same where no user has a profile."""
    nobody = encode_records(features.schema.user_fields, [{}])
    return replace(features, profiles=np.repeat(nobody, len(features.profiles), axis=0))


def most_popular(trial: Trial, asked: HeldOut, days: float | None) -> Rows:
    """The items of most known events (of the last `days` before the test), without those of the history."""
    dataset, known = trial.features.dataset, trial.split.train_and_validation
    if days is not None:
        times = dataset.event_time_ms[known]
        known = known[times > times.max() - days * _DAY_MS]
    counts = np.bincount(dataset.event_item[known], minlength=dataset.items)
    order = np.argsort(-counts, kind="stable").astype(np.int32)
    timeline = trial.features.timeline
    ranked = np.full((len(asked), LIST), -1, np.int32)
    for r, (low, high) in enumerate(zip(asked.begin.tolist(), asked.end.tolist(), strict=True)):
        head = order[: LIST + high - low]
        head = head[~np.isin(head, timeline.item[low:high])][:LIST]
        ranked[r, : len(head)] = head
    return ranked
