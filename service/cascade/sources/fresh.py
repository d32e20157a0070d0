"""What is new, so that an item without any event gets a chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from service.cascade.candidates import Candidates
from service.cascade.eligible import first_eligible
from service.cascade.query import Query, Rows
from service.catalogue import Catalogue

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Fresh:
    """The items created last, those that came after the bundle included.

    Half of the places go to the newest, half are drawn among those of the last `days`, so that a burst of
    new items does not keep any of them from being seen; without `days` all go to the newest.
    """

    catalogue: Catalogue
    size: int
    days: float = 0.0
    name: ClassVar[str] = "fresh"
    requires: ClassVar[tuple[str, ...]] = ()

    def fetch(self, query: Query) -> Candidates:
        """`score` is minus the age in seconds."""
        rows = first_eligible(query, self.catalogue, self._order(query), self.size)
        age_ms = query.now_ms - self.catalogue.created[rows]
        return Candidates.of(rows, score=(-age_ms / 1000.0).astype(np.float32))

    def _order(self, query: Query) -> Rows:
        newest = self.catalogue.newest
        young = int(np.count_nonzero(self.catalogue.created[newest] > query.now_ms - self.days * _DAY_MS))
        first = self.size - self.size // 2
        if young <= self.size:
            return newest
        drawn = np.random.default_rng(query.seed).permutation(np.arange(first, young))
        return np.concatenate([newest[:first], newest[drawn], newest[young:]])
