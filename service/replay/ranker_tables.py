"""What the study of rankers found, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.studies import aw_moe
from service.replay.table import table

Found = Mapping[str, Any]

_COLUMNS = ("AUC", "GAUC", "NDCG@10", "log loss", f"GAUC: {aw_moe.FULL} leads by", "NDCG@10: leads by")


def tell_rankers(found: Found) -> str:
    """A table per length of history: rankers as lines, means over seeds."""
    seeds = ", ".join(map(str, found["seeds"]))
    widths = sorted({*found["widths"]})
    width = str(widths[0]) if len(widths) == 1 else f"{widths[0]} to {widths[-1]}"
    parts = [
        f"Rankers on {found['dataset']}, {found['protocol']}: test requests whose target is among the best "
        f"{width} candidates of the stage before, and these; means over seeds {seeds}, whose funnel all "
        "rankers of a seed share. In brackets half of the 95% interval over users. Leads are of "
        f"{aw_moe.FULL}, paired over users whose seeds are averaged first, with p. Log loss is of the "
        "probability that Platt's method fits to the logits on validation.",
    ]
    for name, events in aw_moe.SLICES.items():
        title = "as they are" if events is None else f"cut to the newest {events} events"
        lines = [[ranker, *_cells(line)] for ranker, line in found["slices"][name].items()]
        counts = ", ".join(map(str, found["requests"][name]))
        parts += [f"Histories {title} ({counts} requests):", table(("ranker", *_COLUMNS), lines)]
    return "\n\n".join([*parts, verdict(found)])


def verdict(found: Found) -> str:
    """Whether the full form leads target attention in GAUC, by slice."""
    said = []
    for name in aw_moe.SLICES:
        line = found["slices"][name][aw_moe.RIVAL]
        lead, p = line["GAUC lead"], line["GAUC p"]
        sure = "for certain" if p < 0.05 else "within the noise"
        said.append(f"{name}: {'yes' if lead > 0 else 'no'}, {sure} ({lead:+.4f}, p = {p:.2g})")
    return f"Goal: {aw_moe.FULL} beats {aw_moe.RIVAL} in GAUC. " + "; ".join(said) + "."


def _cells(line: Found) -> list[str]:
    def number(name: str, digits: int = 4) -> str:
        return "-" if line[name] is None else f"{line[name]:.{digits}f}"

    def lead(name: str) -> str:
        value = line[f"{name} lead"]
        return "" if value == 0 else f"{value:+.4f}, p = {line[f'{name} p']:.2g}"

    measured = [f"{number(name)} ({line[f'{name} interval']:.4f})" for name in aw_moe.PER_REQUEST]
    return [number("AUC"), *measured, number("log loss", 5), lead("GAUC"), lead("NDCG@10")]
