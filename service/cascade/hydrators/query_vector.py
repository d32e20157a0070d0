"""The words of a search as one query vector."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from retrieval.query_tower import QueryTower
from service.cascade.query import Query


@dataclass(frozen=True, slots=True)
class QueryVector:
    """Runs the query tower once, for the dense source and the ranker alike."""

    tower: QueryTower
    name: ClassVar[str] = "query_tower"
    requires: ClassVar[tuple[str, ...]] = ()

    def hydrate(self, query: Query) -> Query:
        """Fill `state.words`; nothing for a text whose words and n-grams training never met.

        Raises:
            ArithmeticError: the tower's answer is not finite.
        """
        vector = self.tower.vector(query.text or "")
        if vector is None:
            return query
        if not np.isfinite(vector).all():
            raise ArithmeticError("the query vector is not finite")
        return query.with_state(replace(query.state, words=vector))
