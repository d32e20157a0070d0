"""`kernel`: one request's five interest queries in the vector index alone, per kind of index."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bundle import STATED
from benchmarks.report import Report, Row
from benchmarks.scale import Scale
from models.indexing.tuning import words
from retrieval.exact import RECALL_AT
from retrieval.index import KINDS, VectorIndex

GOAL_MS = 1.5
"""For five queries over 10^6 items at the stated recall."""
ROUNDS = 5
SLOW_ITEMS = 100_000
SLOW_USERS = 20
"""Beyond so many items, a scan of everything is asked for fewer users."""


def kernel(root: Path, sizes: Sequence[int], command: str, kinds: Sequence[str] = tuple(KINDS)) -> Report:
    """Time every kind at every size; the kinds take turns, so that a busy moment hits all."""
    rows: list[Row] = []
    for items in sizes:
        scale = Scale(root, items)
        found = {kind: scale.index(kind) for kind in kinds}
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        for number in range(ROUNDS + 1):
            for kind in kinds:
                few = SLOW_USERS if kind == "flat" and items > SLOW_ITEMS else None
                taken = _milliseconds(found[kind][0], scale.source.queries[:few])
                # The first round reads the pages of the map.
                times[kind] += taken if number else []
        for kind in sorted(kinds, key=lambda one: float(np.median(times[one]))):
            _, card, size = found[kind]
            ms = np.array(times[kind])
            rows.append(
                {
                    "items": items,
                    "index": words(card.settings),
                    f"recall@{RECALL_AT}": card.recall.measured,
                    "ms per 5 queries": float(np.median(ms)),
                    "fastest tenth": float(np.percentile(ms, 10)),
                    "slowest tenth": float(np.percentile(ms, 90)),
                    "bytes per item": round(size / items),
                }
            )
    return Report("kernel", command, rows, _notes(rows))


def _milliseconds(index: VectorIndex, users: Sequence[Any]) -> list[float]:
    taken = []
    for queries in users:
        started = time.thread_time()
        index.search(queries, RECALL_AT)
        taken.append((time.thread_time() - started) * 1000.0)
    return taken


def _notes(rows: Sequence[Row]) -> list[str]:
    notes = [
        f"CPU time of one thread per user's five queries, k = {RECALL_AT}. Each kind is searched at its "
        f"cheapest setting that finds {STATED:g} of the exact best, chosen on one half of the users and "
        "judged on the other."
    ]
    able = [row for row in rows if float(row[f"recall@{RECALL_AT}"]) >= STATED]
    if missed := [f"{row['index']} at {row['items']:,}" for row in rows if row not in able]:
        notes.append(f"Finds less at its most thorough: {'; '.join(missed)}.")
    if million := [row for row in able if row["items"] == 1_000_000]:
        best = min(million, key=lambda row: float(row["ms per 5 queries"]))
        verdict = "reached" if best["ms per 5 queries"] <= GOAL_MS else "missed"
        notes.append(f"Goal at 10^6 items: <= {GOAL_MS} ms. {verdict.capitalize()}: {best['index']}.")
    return notes
