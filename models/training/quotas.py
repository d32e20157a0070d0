"""Quotas of the sources, chosen by the recall of their union on held-out requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import ceil

import numpy as np
from numpy.typing import NDArray

from retrieval.distinct import first_occurrences

Rows = NDArray[np.int32]
Doubles = NDArray[np.float64]
Lists = dict[str, list[Rows]]
"""By source, each request's unseen candidates, best first."""

GRID: Mapping[str, tuple[float, ...]] = {
    "interests": (0.2, 0.5, 1.0),
    "similar": (0.1, 0.4),
    "factors": (0.1, 0.4, 0.9),
    "popular": (0.02, 0.05),
    "trending": (0.05, 0.3, 0.7),
}
"""Quotas to choose from; a source that cannot be asked is left out. Popular items are never without one: they
answer when nothing else can."""


def best_quotas(lists: Lists, relevant: Rows, candidates: int) -> tuple[dict[str, float], float]:
    """The quotas of `GRID` whose union of `candidates` has the best recall of `relevant` [R, L], and that.

    Rows of `relevant` are padded with -1; a request's recall is the share of its relevant rows found.
    """
    names = [name for name in GRID if name in lists]
    best: tuple[float, dict[str, float]] = (-1.0, {})
    for shares in product(*(GRID[name] for name in names)):
        quotas = dict(zip(names, shares, strict=True))
        found = float(recall_of(union(lists, quotas, candidates), relevant, candidates).mean())
        best = max(best, (found, quotas), key=lambda each: each[0])
    return best[1], best[0]


def union(lists: Mapping[str, list[Rows]], quotas: Mapping[str, float], candidates: int) -> list[Rows]:
    """Each request's `candidates` as `service.cascade.merge` makes them: a source proposes its quota at most,
    and a candidate's place is its least (rank + 1/2) / quota."""
    names = [name for name, share in quotas.items() if share > 0 and name in lists]
    answer = []
    for r in range(len(next(iter(lists.values())))):
        parts = [lists[name][r][: ceil(candidates * quotas[name])] for name in names]
        if not parts:
            answer.append(np.zeros(0, np.int32))
            continue
        rows = np.concatenate(parts)
        place = [(np.arange(len(part)) + 0.5) / quotas[name] for name, part in zip(names, parts, strict=True)]
        rows = rows[np.lexsort((rows, np.concatenate(place)))]
        answer.append(rows[first_occurrences(rows, int(rows.max(initial=0)) + 1)][:candidates])
    return answer


def recall_of(lists: Sequence[Rows], relevant: Rows, depth: int) -> Doubles:
    """Share of each request's relevant rows (padded with -1) among the first `depth` of its list [R]."""
    return np.array(
        [
            np.isin(wanted[wanted >= 0], rows[:depth]).mean()
            for rows, wanted in zip(lists, relevant, strict=True)
        ]
    )
