"""What the studies found, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.studies import cold, knn_embed, towers
from service.replay.table import table

Found = Mapping[str, Any]

_PAIRS = [(key, other) for other in knn_embed.SINGLES for key in ("recall@500", "distance")]


def tell_towers(found: Found) -> str:
    """One line per seed, their mean below; standard errors are over users."""
    trials = found["trials"]
    rows = [
        [
            str(trial["seed"]),
            *(f"{trial[name]:.4f} ({trial[f'{name} error']:.4f})" for name in towers.METRICS),
            _or_dash(trial["validation NDCG@10"]),
            str(trial["seconds"]),
            f"{trial['peak GB']:.1f}",
        ]
        for trial in trials
    ]
    if len(trials) > 1:
        means = [f"{np.mean([trial[name] for trial in trials]):.4f}" for name in towers.METRICS]
        rows.append(["mean", *means, "", "", ""])
    kept = (
        "the epoch that validation liked"
        if found["fit"] == "validate"
        else "trained on training and validation events at the end"
    )
    title = (
        f"Towers alone on {found['dataset']}, {found['protocol']}, {trials[0]['users']} users, whole "
        f"catalogue; {kept}; in brackets the standard error over users."
    )
    head = ("seed", *towers.METRICS, "validation NDCG@10", "seconds", "peak GB")
    return "\n\n".join([title, table(head, rows), *_cold(trials)])


def tell_cold(found: Found) -> str:
    """A table per situation: the towers beside popularity, means over seeds, p the largest of a seed."""
    trials = found["trials"]
    seeds = ", ".join(str(trial["seed"]) for trial in trials)
    title = (
        f"Users without a past on {found['dataset']}, {found['protocol']}, whole catalogue, seeds {seeds}; "
        "in brackets the standard error over users."
    )
    head = ("list", *cold.METRICS, f"towers are better by ({cold.TESTED})")
    told = [title]
    for name, situation in trials[0]["situations"].items():
        rows = [
            [method, *_cold_cells([trial["situations"][name]["methods"][method] for trial in trials])]
            for method in situation["methods"]
        ]
        told += [f"{name[0].upper()}{name[1:]}, {situation['users']} users:", table(head, rows)]
    return "\n\n".join(told)


def _cold_cells(lines: Sequence[Found]) -> list[str]:
    def mean(column: str) -> float:
        return float(np.mean([line[column] for line in lines]))

    better, p = mean("towers are better by"), max(line["p"] for line in lines)
    cells = [f"{mean(metric):.4f} ({mean(f'{metric} error'):.4f})" for metric in cold.METRICS]
    return [*cells, "" if better == 0 else f"{better:+.4f}, p = {p:.1g}"]


def tell_knn_embed(found: Found) -> str:
    """Variants as lines, means over seeds; the paired tests; recall by history length."""
    trials = found["trials"]
    names = list(trials[0]["variants"])
    seeds = ", ".join(str(trial["seed"]) for trial in trials)
    title = (
        f"Queries on {found['dataset']}, {found['protocol']}: {found['candidates']} unseen candidates for "
        f"each of {trials[0]['users']} users, {found['clusters']} clusters, exact search, mean over seeds "
        f"{seeds}. "
        "Distance is the mean of 1 - cosine over pairs of a user's candidates, clusters how many they touch, "
        "items the share of the catalogue that is proposed to anybody."
    )
    tests = (
        "At 500 candidates against the two single queries: the mean difference over seeds, and the largest p "
        "of a seed (paired over users)."
    )
    columns = (*(f"recall@{depth}" for depth in knn_embed.DEPTHS), "distance", "clusters", "items")
    rows = [[name, *(_mean(trials, name, column) for column in columns)] for name in names]
    against = [[name, *_against(trials, name)] for name in names]
    return "\n\n".join(
        [
            title,
            table(("queries", *columns), rows),
            tests,
            table(("queries", *(f"{key} - {other}" for key, other in _PAIRS)), against),
            "Recall@500 by length of the history, mean over seeds.",
            _by_length(trials, names),
        ]
    )


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _cold(trials: Sequence[Found]) -> list[str]:
    if "cold items" not in trials[0]:
        return []
    columns = ("cold Recall@20", "cold Recall@100")
    rows = [[str(trial["seed"]), *(f"{trial[column]:.4f}" for column in columns)] for trial in trials]
    title = (
        f"{trials[0]['users with cold items']} of these users went for {trials[0]['cold items']} items that "
        "no earlier event had touched:"
    )
    return [title, table(("seed", *columns), rows)]


def _mean(trials: Sequence[Found], name: str, column: str) -> str:
    value = float(np.mean([trial["variants"][name][column] for trial in trials]))
    return f"{value:.1f}" if column == "clusters" else f"{value:.4f}"


def _against(trials: Sequence[Found], name: str) -> list[str]:
    cells = []
    for key, other in _PAIRS:
        label = f"{key} against {other}"
        found = [trial["variants"][name] for trial in trials]
        worst = max(each[f"{label}, p"] for each in found)
        shown = "" if name == other else f", p = {worst:.1g}"
        cells.append(f"{np.mean([each[label] for each in found]):+.4f}{shown}")
    return cells


def _by_length(trials: Sequence[Found], names: Sequence[str]) -> str:
    labels = trials[0]["by length"]
    rows = [
        [name, *(f"{np.mean([trial['by length'][label][name] for trial in trials]):.4f}" for label in labels)]
        for name in names
    ]
    return table(("queries", *(f"{label} ({found['users']} users)" for label, found in labels.items())), rows)
