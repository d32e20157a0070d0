"""The evaluation as tables that people read (Markdown)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.replay.beyond import COLUMNS

LIST_COLUMNS = ("HR@10", "NDCG@10", "Recall@20", "NDCG@20", "HR@100", "Recall@100", "coverage@20")


def tables(found: dict[str, Any]) -> str:
    """Funnel, sources, stages, lists, what else these are, and ranker, one table each."""
    tellers = (_funnel, _sources, _stages, _lists, _beyond, _ranker, _timings)
    return "\n\n".join(tell(found) for tell in tellers)


def _funnel(found: dict[str, Any]) -> str:
    steps = found["funnel"]
    base = steps["retrieve"]["recall"]
    rows = [
        [
            name,
            f"{step['size']:.0f}",
            f"{step['recall']:.4f}",
            f"{step['recall'] / base:.3f}" if base else "-",
        ]
        for name, step in steps.items()
    ]
    title = (
        f"Funnel, {found['requests']:,} requests ({found['degraded']} degraded): what each step lets through."
    )
    return f"{title}\n\n" + table(("after", "candidates", "recall", "of retrieval's"), rows)


def _sources(found: dict[str, Any]) -> str:
    rows = [
        [name, f"{each['size']:.0f}", f"{each['recall']:.4f}", f"{each['recall lost without it']:.4f}"]
        for name, each in found["sources"].items()
    ]
    return "Sources, after the filters.\n\n" + table(
        ("source", "candidates", "recall", "lost without it"), rows
    )


def _stages(found: dict[str, Any]) -> str:
    rows = []
    for name, each in found["stages"].items():
        adds = f"{each['NDCG@10 added']:+.4f}, p = {each['p']:.2g}" if "p" in each else ""
        values = [f"{each[metric]:.4f}" for metric in ("HR@10", "NDCG@10", "HR@100")]
        rows.append([name, *values, adds, f"{each['ms']:.2f}"])
    title = "Stage by stage: the list if the cascade ended there, what it adds to NDCG@10, its median ms."
    return f"{title}\n\n" + table(("stage", "HR@10", "NDCG@10", "HR@100", "adds", "ms"), rows)


def _lists(found: dict[str, Any]) -> str:
    final = found["lists"]["final list"]
    title = (
        "Lists over the whole catalogue, seen items left out. Standard errors of the final list: HR@10 "
        f"{final['HR@10 error']:.4f}, NDCG@10 {final['NDCG@10 error']:.4f}. "
        "The last column is the final list's NDCG@10 minus the row's, paired test."
    )
    every = f"{title}\n\n{_compared(found)}"
    known = found["known users"]
    if known is None:
        return every
    return f"{every}\n\nThe same for the {known['requests']:,} users with a history:\n\n{_compared(known)}"


def _compared(found: dict[str, Any]) -> str:
    tests = found["final list against"]
    rows = []
    for name, each in found["lists"].items():
        values = [f"{each[column]:.4f}" for column in LIST_COLUMNS]
        test = tests.get(name)
        verdict = f"{test['NDCG@10 difference']:+.4f}, p = {test['p']:.2g}" if test else ""
        rows.append([name, *values, verdict])
    return table(("list", *LIST_COLUMNS, "final list is better by"), rows)


def _beyond(found: dict[str, Any]) -> str:
    rows = [
        [
            name,
            *(f"{each[column]:.2f}" if column == "novelty" else f"{each[column]:.4f}" for column in COLUMNS),
        ]
        for name, each in found["beyond"].items()
    ]
    title = (
        "The same lists beyond accuracy, their first 10 places: share of the catalogue, novelty in bits, "
        "mean distance of two items of a list, relevant items that the most popular ones lack; then how "
        "evenly items are shown, each figure between the worst (0) and the best (1) that such lists can "
        "have, but for Gini, whose best is 0, with places alike or by their worth (Gini-w); DPFR is the "
        "distance to the best trade-off of relevance and fairness."
    )
    return f"{title}\n\n" + table(("list", *COLUMNS), rows)


def _ranker(found: dict[str, Any]) -> str:
    columns = {"value": found["ranker"], **found["ranker against"]}
    rows = [[name, *(_figure(name, column[name]) for column in columns.values())] for name in found["ranker"]]
    title = "Ranker, on the candidates that it ranked; a label is 1 where the user went for the candidate."
    heads = [name.removeprefix("final list, ") for name in columns]
    return f"{title}\n\n" + table(("figure", *heads), rows)


def _figure(name: str, value: float) -> str:
    return f"{value:,.0f}" if name in ("candidates", "clicks") else f"{value:.4f}"


def _timings(found: dict[str, Any]) -> str:
    rows = [[name, f"{value:.3f}"] for name, value in found["timings_ms"].items()]
    return "Median milliseconds by stage, one thread, in process.\n\n" + table(("stage", "ms"), rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; every column but the first is set to the right."""
    widths = [max(len(str(row[i])) for row in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join((first, *rest)) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"
    return "\n".join((line(head), rule, *(line(row) for row in rows)))
