"""The picture of a tuning: recall against time of everything that was tried."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure

from models.indexing.tuning import Tried, words
from retrieval.index_card import Recall


def draw(tried: Sequence[Tried], chosen: Tried, recall: Recall, items: int) -> bytes:
    """A PNG: time per query upwards, recall to the right, a colour per kind, a line per index built."""
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    colours: dict[str, str] = {}
    for line in _lines(tried):
        kind = line[0].settings.kind
        axes.plot(
            [each.held_out for each in line],
            [each.micros for each in line],
            "o-",
            color=colours.setdefault(kind, f"C{len(colours)}"),
            markersize=3,
            linewidth=1,
        )
    for kind, colour in colours.items():
        axes.plot([], [], "o-", color=colour, markersize=3, label=kind)
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
    axes.set_xlim(min(0.5, recall.stated - 0.1), 1.005)
    axes.set_xlabel(f"recall@{recall.k} on the queries of held-out users")
    axes.set_ylabel("microseconds per query, one thread")
    axes.set_title(f"{items:,} items")
    axes.grid(alpha=0.3)
    axes.legend()
    target = io.BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()


def _lines(tried: Sequence[Tried]) -> Iterable[list[Tried]]:
    """What was tried, grouped by what one rising sweep has in common."""
    lines: dict[tuple[str, int, int, int], list[Tried]] = {}
    for each in tried:
        own = each.settings
        lines.setdefault((own.kind, own.lists, own.links, own.refine), []).append(each)
    return lines.values()
