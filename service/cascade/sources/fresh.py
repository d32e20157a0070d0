"""What is new, so that an item without any event gets a chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from service.cascade.candidates import Candidates
from service.cascade.eligible import first_eligible
from service.cascade.query import Query
from service.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Fresh:
    """The items created last, those that came after the bundle included."""

    catalogue: Catalogue
    size: int
    name: ClassVar[str] = "fresh"
    requires: ClassVar[tuple[str, ...]] = ()

    def fetch(self, query: Query) -> Candidates:
        """`score` is minus the age in seconds."""
        rows = first_eligible(query, self.catalogue, self.catalogue.newest, self.size)
        age_ms = query.now_ms - self.catalogue.created[rows]
        return Candidates.of(rows, score=(-age_ms / 1000.0).astype(np.float32))
