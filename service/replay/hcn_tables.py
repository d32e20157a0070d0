"""What the study of the pre-ranker found, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.studies.hcn import METRICS, VARIANTS, WIDTH
from models.training.distil import TOP
from service.replay.table import table

Found = Mapping[str, Any]


def tell_hcn(found: Found) -> str:
    """Variants as lines, means over seeds; below, what each part adds, p the largest of a seed."""
    trials = found["trials"]
    seeds = ", ".join(str(trial["seed"]) for trial in trials)
    wide = np.mean([trial["candidates"] for trial in trials])
    title = (
        f"Pre-rankers on {found['dataset']}, {found['protocol']}, {trials[0]['requests']} requests, on "
        f"average {wide:,.0f} unseen candidates of {found['items']:,} items, mean over seeds {seeds}; in "
        f"brackets the standard error over requests. Recall is of the targets after the cut to {WIDTH}, "
        "cosine that of pairs of a user's interests, funnel recall the share of the ranker's best "
        f"{TOP} over all candidates that survives a cut, NDCG@10 that of the ranker's list. Every line has a "
        "ranker of its own; that of distillation is the one of the line before it. The cut keeps the best "
        "by the pre-ranker's score, a learned cut by all that is known, as in a bundle."
    )
    names = [variant.name for variant in VARIANTS]
    lines = [[name, *(_mean(trials, name, metric) for metric in METRICS)] for name in names]
    on_validation = [
        [name, *(f"{_values(trials, name, f'{metric}, validation').mean():.4f}" for metric in METRICS)]
        for name in names
    ]
    added = [
        [f"{variant.name} - {variant.against}", *(_added(trials, variant.name, metric) for metric in METRICS)]
        for variant in VARIANTS
        if variant.against
    ]
    return "\n\n".join(
        [
            title,
            table(("pre-ranker", *METRICS), lines),
            "The same on validation, which chooses what ships.",
            table(("pre-ranker", *METRICS), on_validation),
            "What a part adds on the test: the mean difference over seeds, and the largest p of a seed "
            "(paired over requests).",
            table(("parts", *METRICS), added),
        ]
    )


def _values(trials: Sequence[Found], name: str, column: str) -> Any:
    return np.array([trial["variants"][name][column] for trial in trials])


def _mean(trials: Sequence[Found], name: str, metric: str) -> str:
    error = _values(trials, name, f"{metric} error").mean()
    return f"{_values(trials, name, metric).mean():.4f} ({error:.4f})"


def _added(trials: Sequence[Found], name: str, metric: str) -> str:
    difference = _values(trials, name, f"{metric}, more").mean()
    return f"{difference:+.4f}, p = {_values(trials, name, f'{metric}, p').max():.1g}"
