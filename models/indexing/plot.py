"""The picture of a tuning: recall against time of everything that was tried."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.figure import Figure

from models.indexing.tuning import Tried, words
from retrieval.index_card import Recall


def draw(tried: Sequence[Tried], chosen: Tried, recall: Recall, items: int) -> bytes:
    """A PNG: time per query upwards, recall to the right, a dot per setting, a line along the best."""
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for number, kind in enumerate(dict.fromkeys(each.settings.kind for each in tried)):
        mine = [each for each in tried if each.settings.kind == kind]
        best = frontier(mine)
        colour = f"C{number}"
        axes.plot(*_points(mine), ".", color=colour, alpha=0.3)
        axes.plot(*_points(best), "o-", color=colour, markersize=4, label=kind)
    axes.axvline(recall.stated, color="0.4", linestyle="--", linewidth=1, label=f"stated {recall.stated:g}")
    axes.plot(
        [chosen.held_out],
        [chosen.micros],
        "*",
        color="black",
        markersize=14,
        label=f"chosen: {words(chosen.settings)}",
    )
    axes.set_yscale("log")
    axes.set_xlim(max(min(each.held_out for each in tried) - 0.02, recall.stated - 0.4), 1.005)
    axes.set_xlabel(f"recall@{recall.k} on the queries of held-out users")
    axes.set_ylabel("microseconds per query, one thread")
    axes.set_title(f"{items:,} items")
    axes.grid(alpha=0.3)
    axes.legend()
    target = io.BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()


def frontier(tried: Sequence[Tried]) -> list[Tried]:
    """Those that no other one beats in recall for at most the same time, the quickest first."""
    best: list[Tried] = []
    for each in sorted(tried, key=lambda one: (one.micros, -one.held_out)):
        if not best or each.held_out > best[-1].held_out:
            best.append(each)
    return best


def _points(tried: Sequence[Tried]) -> tuple[list[float], list[float]]:
    return [each.held_out for each in tried], [each.micros for each in tried]
