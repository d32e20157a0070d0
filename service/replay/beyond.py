"""Beyond accuracy: what else lists are, each list of the first `DEPTH` places beside the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.columns import Dataset
from models.data.splits import Split
from models.training.held_out import HeldOut
from models.training.timeline import Timeline
from retrieval.fairness import exposure_fairness
from retrieval.frontier import Frontier, fair_share, frontier
from retrieval.metrics import coverage, mean_pairwise_distance, ndcg, novelty, serendipity

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

DEPTH = 10
FRONTIER_USERS = 1000
"""The frontier is made for so many requests at most, evenly spread; lists are compared with it on these."""
COLUMNS = (
    "coverage",
    "novelty",
    "diversity",
    "serendipity",
    "Jain",
    "entropy",
    "Gini",
    "Gini-w",
    "QF",
    "FSat",
    "DPFR",
)


@dataclass(frozen=True)
class Yardstick:
    """What lists are measured by: item `vectors` [m, d], event `counts` [m], what everybody would expect.

    `expected` [R, DEPTH] are the most popular items that a user has not seen; `sample` are the requests of
    the `frontier`.
    """

    relevant: Rows
    vectors: Floats
    counts: Doubles
    expected: Rows
    sample: NDArray[np.int64]
    frontier: Frontier

    @classmethod
    def of(
        cls, dataset: Dataset, timeline: Timeline, split: Split, requests: HeldOut, vectors: Floats
    ) -> Yardstick:
        """For held-out requests and the events before them."""
        counts = np.bincount(dataset.event_item[split.train_and_validation], minlength=dataset.items)
        seen = _padded([timeline.item[a:b] for a, b in zip(requests.begin, requests.end, strict=True)])
        order = np.argsort(-counts, kind="stable").astype(np.int32)
        expected = _padded([_first(order, row) for row in seen])
        sample = np.unique(np.linspace(0, len(requests) - 1, FRONTIER_USERS).astype(np.int64))
        best = frontier(requests.relevant[sample], dataset.items, DEPTH, seen[sample])
        return cls(requests.relevant, vectors, counts.astype(np.float64), expected, sample, best)

    def measure(self, ranked: Rows) -> dict[str, float]:
        """The figures of lists [R, k]: `COLUMNS`."""
        ranked = ranked[:, :DEPTH]
        items = len(self.counts)
        few = ranked[self.sample]
        relevance = float(ndcg(few, self.relevant[self.sample], DEPTH).mean())
        return {
            "coverage": coverage(ranked, items),
            "novelty": _mean(novelty(ranked, self.counts)),
            "diversity": _mean(mean_pairwise_distance(ranked, self.vectors)),
            "serendipity": float(serendipity(ranked, self.expected, self.relevant).mean()),
            **exposure_fairness(ranked, items),
            "DPFR": self.frontier.distance(relevance, fair_share(few, items)),
        }


def beyond(lists: Mapping[str, Rows], yardstick: Yardstick) -> dict[str, dict[str, float]]:
    """The figures of each method's lists; of none that are all empty."""
    return {name: yardstick.measure(each) for name, each in lists.items() if (each[:, :DEPTH] >= 0).any()}


def _mean(values: Doubles) -> float:
    """Over the lists that have the figure; 0 where none has."""
    able = values[~np.isnan(values)]
    return float(able.mean()) if len(able) else 0.0


def _first(order: Rows, seen: Rows) -> Rows:
    head = order[: DEPTH + len(seen)]
    return head[~np.isin(head, seen)][:DEPTH]


def _padded(rows: list[Rows]) -> Rows:
    table = np.full((len(rows), max((len(each) for each in rows), default=0)), -1, np.int32)
    for row, each in zip(table, rows, strict=True):
        row[: len(each)] = each
    return table
