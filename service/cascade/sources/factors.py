"""What matrix factorisation finds for the user's events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from retrieval.factors import Factors
from service.cascade.candidates import Candidates
from service.cascade.eligible import barred, eligible
from service.cascade.query import Query
from service.catalogue import Catalogue

_UNDER_RULE = 10
"""With a rule, so many times more are read, since it will drop some."""


@dataclass(frozen=True, slots=True)
class FactorSearch:
    """The items nearest to the user's factors; nobody's are none."""

    factors: Factors
    catalogue: Catalogue
    size: int
    name: ClassVar[str] = "factors"
    requires: ClassVar[tuple[str, ...]] = ("user_factors",)

    def fetch(self, query: Query) -> Candidates:
        """`score` is the inner product of the factors."""
        user = query.state.factors
        if user is None:
            return Candidates.of(np.zeros(0, np.int32), score=np.zeros(0, np.float32))
        wanted = self.size * (1 if query.rule is None else _UNDER_RULE) + len(barred(query))
        rows, scores = self.factors.nearest(user, wanted)
        able = eligible(query, self.catalogue, rows)
        return Candidates.of(rows[able][: self.size], score=scores[able][: self.size])
