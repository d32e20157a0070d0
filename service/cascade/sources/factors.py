"""What matrix factorisation finds for the user's events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from models.plan import Plan
from retrieval.factors import Factors
from service.cascade.candidates import Candidates
from service.cascade.eligible import barred, eligible
from service.cascade.query import Query
from service.cascade.recent import recent_events
from service.catalogue import Catalogue

_UNDER_RULE = 10
"""With a rule, so many times more are read, since it will drop some."""


@dataclass(frozen=True, slots=True)
class FactorSearch:
    """The user's factors solved from recent events, and the items nearest to them; nobody's are none."""

    factors: Factors
    plan: Plan
    catalogue: Catalogue
    size: int
    name: ClassVar[str] = "factors"
    requires: ClassVar[tuple[str, ...]] = ()

    def fetch(self, query: Query) -> Candidates:
        """`score` is the inner product of the factors."""
        history, _ = recent_events(query, self.plan, len(self.factors.vectors))
        wanted = self.size * (1 if query.rule is None else _UNDER_RULE) + len(barred(query))
        rows, scores = self.factors.search(history, wanted)
        able = eligible(query, self.catalogue, rows)
        return Candidates.of(rows[able][: self.size], score=scores[able][: self.size])
