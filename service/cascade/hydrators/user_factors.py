"""The user's factors of the matrix factorisation, solved from recent events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from models.plan import Plan
from retrieval.factors import Factors
from service.cascade.query import Query
from service.cascade.recent import recent_events


@dataclass(frozen=True, slots=True)
class UserFactors:
    """Fills `state.factors` of a user with events."""

    factors: Factors
    plan: Plan
    name: ClassVar[str] = "user_factors"
    requires: ClassVar[tuple[str, ...]] = ()

    def hydrate(self, query: Query) -> Query:
        """Solve."""
        history, _ = recent_events(query, self.plan, len(self.factors.vectors))
        if len(history) == 0:
            return query
        return query.with_state(replace(query.state, factors=self.factors.user(history)))
