"""How far the ranker that serves is from single precision, measured on the answers that are really given."""

from __future__ import annotations

import asyncio
import math
from typing import ClassVar

import numpy as np

from models.graph import Graph
from ranking.ranker import Ranker
from service.cascade.candidates import Candidates
from service.cascade.cascade import SCORED
from service.cascade.query import Query
from service.cascade.scorers.rank import Rank
from service.computing import Computed
from service.engine import Engine
from service.sampler import Sampler

RANKED = Rank.name + SCORED
"""The batch of what was ranked: its round is called as the scorer."""


class RankerSampler(Sampler[tuple[Engine, Query, Graph, Candidates]]):
    """Ranks a small share of answers again, by the graph in single precision that a bundle has to explain.

    Experts in 8 bits take values beyond the ranges that training met for the largest of these. No other
    figure tells of it: scores stay finite, and clicks come late.
    """

    name: ClassVar[str] = "ranker"

    def offer(self, done: Computed) -> None:
        """Take an answer that `wants` was asked for and whose batches were shown; returns at once.

        Nothing comes of one that ranked nothing, or whose bundle has no graph to compare with.
        """
        graph, batch = done.engine.bundle.ranker_explain, done.batches.get(RANKED)
        if graph is not None and batch is not None and len(batch):
            self.take((done.engine, done.query.with_state(done.outcome.state), graph, batch))

    async def _measure(self, sample: tuple[Engine, Query, Graph, Candidates]) -> None:
        apart = await asyncio.to_thread(_apart, *sample)
        if apart is not None:
            engine, query, *_ = sample
            self._metrics.on_rounding(engine.bundle.version, query.kind, apart)


def _apart(engine: Engine, query: Query, graph: Graph, batch: Candidates) -> float | None:
    """The mean absolute difference of the logits; None where the ranker was left out.

    Raises:
        ValueError: it is not finite, which would spoil the sum of all others.
    """
    ranked = batch.take(np.isfinite(batch[Rank.name]))
    if not len(ranked):
        return None
    exact = Rank(Ranker(graph, engine.catalogue.rank)).score(query, ranked)
    apart = float(np.abs(exact - ranked[Rank.name]).mean(dtype=np.float64))
    if not math.isfinite(apart):
        raise ValueError(f"bundle {engine.bundle.version}: a logit in single precision is not finite")
    return apart
