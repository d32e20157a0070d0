"""One step of the funnel: score all, keep some."""

from __future__ import annotations

from dataclasses import dataclass

from service.cascade.query import Query
from service.cascade.stages import Chance, Scorer, Selector


@dataclass(frozen=True, slots=True)
class Round:
    """Score every candidate, then keep the `size` best (None = the page: as many as the query wants).

    `chance` adds the column `propensity` to what was kept, where the selector left anything to chance.
    """

    name: str
    scorers: tuple[Scorer, ...]
    selector: Selector
    size: int | None
    chance: Chance | None = None

    def size_for(self, query: Query) -> int:
        """How many candidates this query keeps; quality scales it, but never below the page."""
        if self.size is None:
            return query.count
        return max(query.count, round(self.size * query.quality))
