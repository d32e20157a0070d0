"""Relevance and fairness together: how far lists are from the best trade-off (DPFR, arXiv 2502.11921).

The frontier is made as in the paper: begin with lists of the best relevance, swap the item that is shown most
for the one that is shown least where it costs least relevance, until all are shown alike, and keep relevance
and fairness on the way. The reference is the point of the frontier at half of its length; the figure of merit
is the Euclidean distance to it, 0 = as good a trade-off as there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.fairness import corrected, counts, gini, least_fair, most_fair
from retrieval.metrics import ndcg

Rows = NDArray[np.integer[Any]]
Doubles = NDArray[np.float64]

POINTS = 200
"""The frontier is measured at about so many points."""
TRIED = 20
"""Of the items that are shown least so many are tried, where users may not be shown some of them."""


@dataclass(frozen=True, slots=True)
class Frontier:
    """`relevance` and `fairness` [S], from the most relevant to the fairest lists."""

    relevance: Doubles
    fairness: Doubles

    @property
    def reference(self) -> tuple[float, float]:
        """Relevance and fairness at half the length of the curve."""
        steps = np.hypot(np.diff(self.relevance), np.diff(self.fairness))
        along = np.concatenate([[0.0], np.cumsum(steps)])
        half = along[-1] / 2
        return float(np.interp(half, along, self.relevance)), float(np.interp(half, along, self.fairness))

    def distance(self, relevance: float, fairness: float) -> float:
        """Euclidean distance to the reference."""
        at = self.reference
        return float(np.hypot(relevance - at[0], fairness - at[1]))


def fair_share(ranked: Rows, items: int) -> float:
    """Fairness of lists on the frontier's axis: 1 - the corrected Gini (our choice among the measures)."""
    shown = counts(ranked, items)
    worst, best = least_fair(ranked, items), most_fair(int(shown.sum()), items)
    return 1.0 - corrected(gini, shown, worst, best)


def frontier(relevant: Rows, items: int, k: int, seen: Rows | None = None) -> Frontier:
    """The frontier of lists of k for B users by NDCG@k, `relevant` [B, R] padded with -1.

    `seen` [B, S], padded with -1, may not be listed. A Python loop over at most B * k swaps: offline.
    """
    relevant = relevant[:, None] if relevant.ndim == 1 else relevant
    lists = _Lists.best(relevant, items, k, seen)
    swaps = lists.swaps_left()
    every = max(1, swaps // POINTS)
    points = [lists.point(relevant)]
    for number in range(1, swaps + 1):
        if not lists.swap():
            break
        if number % every == 0:
            points.append(lists.point(relevant))
    points.append(lists.point(relevant))
    relevance, fairness = np.array(points).T
    return Frontier(relevance, fairness)


class _Lists:
    """Lists that are made fairer, one swap at a time. `loss` [B, k]: what relevance a place would lose."""

    def __init__(self, ranked: NDArray[np.int64], loss: Doubles, items: int, barred: list[set[int]]) -> None:
        self.ranked = ranked
        self._loss = loss
        self._items = items
        self._barred = barred
        self._shown = counts(ranked, items)
        self._stuck = np.zeros(items, bool)

    @classmethod
    def best(cls, relevant: Rows, items: int, k: int, seen: Rows | None) -> _Lists:
        """The relevant items first, then what is shown least: the fairest of the most relevant lists."""
        barred = [set(row[row >= 0].tolist()) for row in (seen if seen is not None else relevant[:, :0])]
        ranked = np.full((len(relevant), k), -1, np.int64)
        loss = np.zeros((len(relevant), k))
        discount = 1 / np.log2(np.arange(2, k + 2))
        shown = np.zeros(items)
        for row, wanted in enumerate(relevant):
            good = np.unique(wanted[wanted >= 0])[:k]
            ranked[row, : len(good)] = good
            loss[row, : len(good)] = discount[: len(good)] / max(discount[: len(good)].sum(), 1e-12)
            shown[good] += 1
        for row in range(len(ranked)):
            room = int((ranked[row] < 0).sum())
            able = shown.copy()
            able[[*barred[row], *ranked[row][ranked[row] >= 0].tolist()]] = np.inf
            least = np.argsort(able, kind="stable")[:room]
            least = least[np.isfinite(able[least])]
            ranked[row, k - room : k - room + len(least)] = least
            shown[least] += 1
        return cls(ranked, loss, items, barred)

    def point(self, relevant: Rows) -> tuple[float, float]:
        """NDCG and fairness as the lists stand."""
        k = self.ranked.shape[1]
        return float(ndcg(self.ranked, relevant, k).mean()), fair_share(self.ranked, self._items)

    def swaps_left(self) -> int:
        """How many places have to change hands until no two items differ by more than one."""
        even = self._shown.sum() / self._items
        over, under = self._shown - np.ceil(even), np.floor(even) - self._shown
        return int(max(np.maximum(over, 0).sum(), np.maximum(under, 0).sum()))

    def swap(self) -> bool:
        """Give a place of the item that is shown most to one that is shown least; False = none is left."""
        while True:
            most = int(np.argmax(np.where(self._stuck, -1.0, self._shown)))
            if self._stuck[most]:
                return False
            rows, places = np.nonzero(self.ranked == most)
            for least in np.argsort(self._shown, kind="stable")[:TRIED].tolist():
                if self._shown[most] - self._shown[least] <= 1:
                    break
                free = ~(self.ranked[rows] == least).any(axis=1)
                free &= np.array([least not in self._barred[row] for row in rows.tolist()], bool)
                if free.any():
                    self._give(rows[free], places[free], most, least)
                    return True
            self._stuck[most] = True

    def _give(self, rows: NDArray[np.int64], places: NDArray[np.int64], most: int, least: int) -> None:
        cheapest = int(np.argmin(self._loss[rows, places]))
        self.ranked[rows[cheapest], places[cheapest]] = least
        self._loss[rows[cheapest], places[cheapest]] = 0.0
        self._shown[most] -= 1
        self._shown[least] += 1
