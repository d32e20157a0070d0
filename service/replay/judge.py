"""From replayed requests to figures: the funnel, the final list, the ranker, beside baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.baselines import BASELINES, interactions, rank, tune
from models.data.columns import Dataset
from models.data.splits import Split
from models.training.held_out import HeldOut
from models.training.timeline import Timeline
from retrieval.metrics import (
    auc,
    copc,
    coverage,
    ece,
    gauc,
    log_loss,
    mean_and_error,
    paired_test,
    ranking_metrics,
)
from retrieval.order import descending
from service.replay.beyond import Yardstick, beyond
from service.replay.replay import LIST, STEPS, Replayed

Rows = NDArray[np.int32]
Doubles = NDArray[np.float64]


STAGE_METRICS = ("HR@10", "NDCG@10", "HR@100")
STAGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "retrieval": ("retrieval's order", ("hydrate.", "source.", "merge.", "filter.", "select.as_they_came")),
    "pre-ranking": (
        "order of the cut",
        (
            "score.tower",
            "score.interest",
            "score.similar",
            "score.popular",
            "score.prerank",
            "select.best_prerank",
        ),
    ),
    "ranking": ("final list", ("score.rank", "score.pctr", "score.score", "select.best_score", "select.div")),
}
"""The list that each stage would answer, and beginnings of the names of its timings."""


@dataclass(frozen=True, slots=True)
class Lists:
    """Ranked lists [R, LIST] of one method, padded with -1, and its metrics per request."""

    ranked: Rows
    metrics: dict[str, Doubles]

    @classmethod
    def of(cls, ranked: Rows, relevant: Rows) -> Lists:
        """Judge lists against the relevant rows [R, L]."""
        return cls(ranked, ranking_metrics(ranked, relevant))

    def at(self, chosen: NDArray[np.bool_]) -> Lists:
        """Those of some requests."""
        return Lists(self.ranked[chosen], {name: values[chosen] for name, values in self.metrics.items()})


def judge(
    replayed: Sequence[Replayed],
    requests: HeldOut,
    dataset: Dataset,
    timeline: Timeline,
    split: Split,
    source_names: tuple[str, ...],
    baselines: Sequence[str],
    others: Mapping[str, Sequence[Replayed]],
    yardstick: Yardstick,
) -> dict[str, Any]:
    """Every figure of the evaluation, as plain JSON types; `others` are replays under changes."""
    relevant = requests.relevant
    lists = {
        "final list": Lists.of(stack([each.answer for each in replayed]), relevant),
        "order of the cut": Lists.of(ordered(replayed, "cut"), relevant),
        "pre-ranker's order": Lists.of(ordered(replayed, "prerank"), relevant),
        "tower's order": Lists.of(ordered(replayed, "tower"), relevant),
        "fusion of the sources": Lists.of(stack([each.fused for each in replayed]), relevant),
        "retrieval's order": Lists.of(stack([each.steps["retrieve"] for each in replayed]), relevant),
    }
    for name, other in others.items():
        lists[name] = Lists.of(stack([each.answer for each in other]), relevant)
    settings: dict[str, Any] = {}
    for name in baselines:
        tuned = tune(name, dataset, split)
        settings[name] = {"settings": tuned.settings, "validation NDCG@10": tuned.validation_ndcg}
        lists[name] = Lists.of(baseline(tuned.scorer, dataset, timeline, requests), relevant)
    return {
        "requests": len(requests),
        "funnel": funnel(replayed, relevant),
        "stages": stages(lists, timings(replayed)),
        "sources": sources(replayed, relevant, source_names),
        **compared(lists, dataset.items),
        "known users": known_users(lists, requests.warm, dataset.items),
        "beyond": beyond({name: each.ranked for name, each in lists.items()}, yardstick),
        "ranker": ranker(replayed, relevant),
        "ranker against": {name: ranker(other, relevant) for name, other in others.items()},
        "baselines": settings,
        "degraded": sum(bool(each.degraded) for each in replayed),
        "timings_ms": timings(replayed),
    }


def stages(lists: Mapping[str, Lists], timings_ms: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """What each stage adds to the list that the one before it would have answered, and its milliseconds.

    Features of candidates that both rankers read are counted where they are computed, before the pre-ranker.
    """
    before: Lists | None = None
    answer = {}
    for stage, (name, work) in STAGES.items():
        found = lists[name]
        spent = [ms for label, ms in timings_ms.items() if label.startswith(work)]
        answer[stage] = {
            **{metric: float(found.metrics[metric].mean()) for metric in STAGE_METRICS},
            "ms": round(sum(spent), 3),
        }
        if before is not None:
            test = paired_test(found.metrics["NDCG@10"], before.metrics["NDCG@10"])
            answer[stage] |= {"NDCG@10 added": test.difference, "p": test.p_value}
        before = found
    return answer


def funnel(replayed: Sequence[Replayed], relevant: Rows) -> dict[str, dict[str, float]]:
    """What each step lets through: mean size, and recall of the relevant items."""
    found = {
        step: [share_found(each.steps[step], relevant[r]) for r, each in enumerate(replayed)]
        for step in STEPS[:-1]
    }
    return {
        step: {
            "size": float(np.mean([len(each.steps[step]) for each in replayed])),
            "recall": float(np.mean(found[step])),
        }
        for step in STEPS[:-1]
    }


def sources(
    replayed: Sequence[Replayed], relevant: Rows, names: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Each source's own recall after the filters, and what would be lost without it."""
    answer = {}
    for bit, name in enumerate(names):
        own, without = [], []
        for r, each in enumerate(replayed):
            proposed = (each.sources >> bit & 1).astype(bool)
            alone = each.sources == 1 << bit
            own.append(share_found(each.steps["filter"][proposed], relevant[r]))
            without.append(share_found(each.steps["filter"][alone], relevant[r]))
        answer[name] = {
            "size": float(np.mean([np.count_nonzero(each.sources >> bit & 1) for each in replayed])),
            "recall": float(np.mean(own)),
            "recall lost without it": float(np.mean(without)),
        }
    return answer


def ranker(replayed: Sequence[Replayed], relevant: Rows) -> dict[str, float]:
    """Ranker and pre-ranker on the same candidates, those that were ranked; how honest the pCTR is."""
    labels = np.concatenate([np.isin(each.steps["rank"], relevant[r]) for r, each in enumerate(replayed)])
    group = np.repeat(
        np.arange(len(replayed), dtype=np.int32), [len(each.steps["rank"]) for each in replayed]
    )
    logit, prerank, tower, pctr = (
        np.concatenate([getattr(each, name) for each in replayed])
        for name in ("logit", "prerank", "tower", "pctr")
    )
    flat = labels.astype(np.float64)
    return {
        "candidates": len(labels),
        "clicks": float(flat.sum()),
        "AUC": auc(flat, logit),
        "GAUC": gauc(flat, logit, group),
        "pre-ranker AUC": auc(flat, prerank),
        "pre-ranker GAUC": gauc(flat, prerank, group),
        "tower GAUC": gauc(flat, tower, group),
        "log loss": log_loss(flat, pctr),
        "log loss of the base rate": log_loss(flat, np.full(len(flat), flat.mean())),
        "ECE": ece(flat, pctr),
        "COPC": copc(flat, pctr),
    }


def baseline(scorer: Any, dataset: Dataset, timeline: Timeline, requests: HeldOut) -> Rows:
    """A baseline's lists for the same histories."""
    events = np.argsort(timeline.place)  # place -> event of the data set
    known = np.concatenate(
        [events[low:high] for low, high in zip(requests.begin.tolist(), requests.end.tolist(), strict=True)]
        or [np.zeros(0, np.int64)]
    )
    histories = interactions(dataset, np.sort(known))[requests.user]
    return rank(scorer, histories, LIST)


def ordered(replayed: Sequence[Replayed], column: str) -> Rows:
    """The ranked candidates in another stage's order, as lists."""
    return stack(
        [each.steps["rank"][descending(getattr(each, column), each.steps["rank"])] for each in replayed]
    )


def stack(rows: Sequence[Rows]) -> Rows:
    """Lists cut and padded to [R, LIST]."""
    table = np.full((len(rows), LIST), -1, np.int32)
    for r, each in enumerate(rows):
        table[r, : min(len(each), LIST)] = each[:LIST]
    return table


def share_found(rows: Rows, relevant: Rows) -> float:
    """Share of the relevant rows (padded with -1) that are among `rows`."""
    wanted = relevant[relevant >= 0]
    return float(np.isin(wanted, rows).mean())


def compared(lists: Mapping[str, Lists], items: int) -> dict[str, Any]:
    """What each list is worth, and the final list against the others."""
    final = lists["final list"]
    return {
        "lists": {name: aggregate(each, items) for name, each in lists.items()},
        "final list against": {
            name: comparison(final, other) for name, other in lists.items() if name != "final list"
        },
    }


def known_users(lists: Mapping[str, Lists], known: NDArray[np.bool_], items: int) -> dict[str, Any] | None:
    """The same for requests of users with a history [R] alone; None where all have one, or hardly any."""
    if known.all() or known.sum() < 2:
        return None
    chosen = {name: each.at(known) for name, each in lists.items()}
    return {"requests": int(known.sum()), **compared(chosen, items)}


def aggregate(lists: Lists, items: int) -> dict[str, float]:
    """Means, the standard errors of the leading ones, and catalogue coverage at 20."""
    means = {name: float(values.mean()) for name, values in lists.metrics.items()}
    for name in ("HR@10", "NDCG@10"):
        means[f"{name} error"] = mean_and_error(lists.metrics[name])[1]
    means["coverage@20"] = coverage(lists.ranked[:, :20], items)
    return means


def comparison(final: Lists, other: Lists) -> dict[str, float]:
    """Paired test of NDCG@10."""
    found = paired_test(final.metrics["NDCG@10"], other.metrics["NDCG@10"])
    return {
        "NDCG@10 difference": found.difference,
        "standard error": found.standard_error,
        "p": found.p_value,
    }


def timings(replayed: Sequence[Replayed]) -> dict[str, float]:
    """Median milliseconds by stage over the requests."""
    names = sorted({name for each in replayed for name in each.timings_ms})
    return {
        name: round(float(np.median([each.timings_ms.get(name, 0.0) for each in replayed])), 3)
        for name in names
    }


DEFAULT_BASELINES = tuple(BASELINES)
"""All that the project has."""
