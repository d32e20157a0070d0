"""What is similar to the user's recent events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from models.plan import Plan
from retrieval.neighbours import Neighbours
from service.cascade.candidates import Candidates
from service.cascade.eligible import eligible
from service.cascade.query import Query
from service.cascade.recent import recent_events
from service.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Similar:
    """Item-to-item neighbours of recent events, summed; a user without events gets none."""

    neighbours: Neighbours
    plan: Plan
    catalogue: Catalogue
    size: int
    name: ClassVar[str] = "similar"
    requires: ClassVar[tuple[str, ...]] = ()

    def fetch(self, query: Query) -> Candidates:
        """`score` is the summed similarity to recent events."""
        history, weights = recent_events(query, self.plan, len(self.neighbours.rows))
        rows, scores = self.neighbours.score(history, weights)
        able = eligible(query, self.catalogue, rows)
        return Candidates.of(rows[able][: self.size], score=scores[able][: self.size])
