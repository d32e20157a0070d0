"""What is popular at the placement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from service.cascade.candidates import Candidates
from service.cascade.eligible import first_eligible
from service.cascade.query import Query
from service.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Popular:
    """The items with most decayed events; cannot fail, and needs nothing of the user."""

    catalogue: Catalogue
    size: int
    name: ClassVar[str] = "popular"
    requires: ClassVar[tuple[str, ...]] = ()

    def fetch(self, query: Query) -> Candidates:
        """`score` is the decayed event count."""
        order = self.catalogue.exported.popular[query.placement]
        rows = first_eligible(query, self.catalogue, order, self.size)
        return Candidates.of(rows, score=self.catalogue.popularity(query.placement, rows))
