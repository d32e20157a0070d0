"""What is similar to the user's recent events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from models.plan import Plan
from retrieval.neighbours import Neighbours
from retrieval.pairs import PairScorer, pairs_of, pruned
from service.cascade.candidates import Candidates
from service.cascade.eligible import eligible
from service.cascade.query import Floats, Query, Rows
from service.cascade.recent import recent_events
from service.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Personal:
    """What prunes the lists for one user: `popularity` [placements, m], `vectors` [m, d + 1]."""

    scorer: PairScorer
    popularity: NDArray[np.float32]
    vectors: Floats


@dataclass(frozen=True, slots=True)
class Similar:
    """Item-to-item neighbours of recent events, scored for this user where his vector and a scorer are there,
    else summed; a user without events gets none."""

    neighbours: Neighbours
    plan: Plan
    catalogue: Catalogue
    size: int
    personal: Personal | None = None
    name: ClassVar[str] = "similar"
    requires: ClassVar[tuple[str, ...]] = ()

    def fetch(self, query: Query) -> Candidates:
        """`score` is the summed similarity to recent events, or the log of the summed odds of their pairs."""
        history, weights = recent_events(query, self.plan, len(self.neighbours.rows))
        vector = query.state.vector
        if self.personal is None or vector is None or self.plan.pair_events == 0:
            rows, scores = self.neighbours.score(history, weights)
        else:
            rows, scores = self._pruned(self.personal, query.placement, history, vector)
        able = eligible(query, self.catalogue, rows)
        return Candidates.of(rows[able][: self.size], score=scores[able][: self.size])

    def _pruned(
        self, personal: Personal, placement: int, history: Rows, vector: Floats
    ) -> tuple[Rows, Floats]:
        newest = history[: self.plan.pair_events]
        popularity = personal.popularity[placement]
        return pruned(
            pairs_of(self.neighbours, newest, popularity, personal.vectors, vector), personal.scorer
        )
