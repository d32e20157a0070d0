"""The diversity knob, turned from 0 to 1: what a list loses in relevance and gains otherwise."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from models.data.columns import Dataset
from models.plan import Plan
from models.training.held_out import HeldOut
from models.training.timeline import Timeline
from ranking.diversity import METHODS, Method
from retrieval.metrics import ndcg, paired_test
from service.bundle import Bundle
from service.cascade.observe import NullObserver
from service.engine import Engine
from service.replay.beyond import DEPTH, Yardstick
from service.replay.judge import stack
from service.replay.replay import replay
from service.replay.table import table

Found = Mapping[str, Any]

STRENGTHS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
COLUMNS = ("diversity", "coverage", "novelty", "serendipity", "Gini", "DPFR")


def knob(
    bundle: Bundle, dataset: Dataset, timeline: Timeline, requests: HeldOut, yardstick: Yardstick
) -> list[dict[str, Any]]:
    """A line for no diversity, then for each method and strength, with NDCG@10 paired against none."""

    def asked(plan: Plan) -> tuple[Any, dict[str, Any]]:
        engine = Engine.build(bundle, NullObserver(), plan=plan)
        lists = stack([each.answer for each in replay(engine, dataset, timeline, requests)])
        gained = ndcg(lists, requests.relevant, DEPTH)
        return gained, {"NDCG@10": float(gained.mean()), **yardstick.measure(lists)}

    none, first = asked(replace(bundle.plan, diversity=0.0))
    lines: list[dict[str, Any]] = [{"method": "none", "strength": 0.0, **first, "difference": 0.0, "p": 1.0}]
    methods: list[Method] = ["dpp", "mmr"]
    for method in methods:
        for strength in STRENGTHS:
            gained, line = asked(replace(bundle.plan, diversity=strength, diversity_method=method))
            test = paired_test(gained, none)
            line |= {"difference": test.difference, "p": test.p_value}
            lines.append({"method": method, "strength": strength, **line})
    return lines


def tell_knob(lines: Sequence[Found]) -> str:
    """A line per method and strength."""
    rows = [
        [
            f"{line['method']} {line['strength']:g}",
            f"{line['NDCG@10']:.4f}",
            "" if line["strength"] == 0 else f"{line['difference']:+.4f}, p = {line['p']:.2g}",
            *(f"{line[column]:.4f}" for column in COLUMNS),
        ]
        for line in lines
    ]
    title = (
        "The diversity knob, lists of 10: greedy DPP and MMR by strength, with the paired difference to no "
        "diversity. Novelty in bits; Gini 0 = all items are shown alike; DPFR is the distance to the best "
        "trade-off of relevance and fairness."
    )
    return f"{title}\n\n" + table(("method, strength", "NDCG@10", "against none", *COLUMNS), rows)


def draw_knob(lines: Sequence[Found], form: str = "png") -> bytes:
    """The picture: NDCG@10 against diversity, and against how evenly items are shown, a line per method."""
    # Only this picture needs it, and it takes half a second to import.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), dpi=120, layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    titles = {
        "diversity": "mean distance of two items of a list",
        "Gini": "1 - Gini of how often items are shown",
    }
    for place, (name, label) in zip(axes, titles.items(), strict=True):
        for number, method in enumerate(METHODS):
            mine = [line for line in lines if line["method"] in ("none", method)]
            across = np.array([line[name] for line in mine])
            across = 1 - across if name == "Gini" else across
            place.plot(across, [line["NDCG@10"] for line in mine], "o-", color=f"C{number}", label=method)
            for x, line in zip(across.tolist(), mine, strict=True):
                place.annotate(f"{line['strength']:g}", (x, line["NDCG@10"]), fontsize=7)
        place.set_xlabel(label)
        place.grid(alpha=0.3)
    axes[0].set_ylabel("NDCG@10")
    axes[0].legend()
    target = io.BytesIO()
    figure.savefig(target, format=form)
    return target.getvalue()
