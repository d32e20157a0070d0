"""What is trending at the placement at this moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from service.cascade.candidates import Candidates
from service.cascade.eligible import eligible
from service.cascade.query import Floats, Query, Rows
from service.catalogue import Catalogue

TrendsAt = Callable[[str, Catalogue], tuple[Rows, Floats]]


@dataclass(frozen=True, slots=True)
class Trending:
    """The items of most recent events as the event stream counts them; nothing before the first event.

    `placements` are the bundle's, by their row.
    """

    trends_at: TrendsAt
    catalogue: Catalogue
    placements: tuple[str, ...]
    size: int
    name: ClassVar[str] = "trending"
    requires: ClassVar[tuple[str, ...]] = ()

    def fetch(self, query: Query) -> Candidates:
        """`score` is the decayed event count at the last reading."""
        rows, counts = self.trends_at(self.placements[query.placement], self.catalogue)
        able = eligible(query, self.catalogue, rows)
        return Candidates.of(rows[able][: self.size], score=counts[able][: self.size])
