"""A page that is good and not all alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ranking.diversity import Method, diversify
from service.cascade.candidates import Candidates
from service.cascade.query import Query
from service.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Diverse:
    """Trades the column `score` against likeness of item vectors.

    The strength is the query's `diversity`, else `knob`; 0 keeps the order.
    """

    catalogue: Catalogue
    knob: float
    method: Method = "dpp"
    name: ClassVar[str] = "diversity"
    requires: ClassVar[tuple[str, ...]] = ()

    def strength(self, query: Query) -> float:
        """How much the query wants, 0..1."""
        return self.knob if query.diversity is None else query.diversity

    def pick(self, query: Query, batch: Candidates, size: int) -> NDArray[np.intp]:
        """At most `size` positions, best first."""
        strength = self.strength(query)
        if strength <= 0:
            return np.arange(min(size, len(batch)))
        directions = self.catalogue.items.take(batch.rows)[:, :-1]
        return diversify(batch["score"], directions, size, strength, self.method)
