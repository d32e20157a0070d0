"""What means the words of a search, whether or not it has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from retrieval.index import VectorIndex
from retrieval.order import descending
from service.cascade.candidates import Candidates
from service.cascade.eligible import barred, eligible
from service.cascade.query import Floats, Query, Rows
from service.catalogue import Catalogue

EXACT = 20_000
"""A rule that leaves at most so many items is answered by exact search among them."""
MOST_MORE = 10
"""With a wider rule the index is asked for at most this many times more."""


@dataclass(frozen=True, slots=True)
class Dense:
    """The query tower's vector against the item index, and exactly against items that came since."""

    index: VectorIndex
    catalogue: Catalogue
    size: int
    name: ClassVar[str] = "dense"
    requires: ClassVar[tuple[str, ...]] = ("query_tower",)

    def fetch(self, query: Query) -> Candidates:
        """`score` is query . item; nothing for a text whose words and n-grams training never met."""
        vector = query.state.words
        if vector is None:
            return Candidates.of(np.zeros(0, np.int32), score=np.zeros(0, np.float32))
        out = len(barred(query))
        found = self._best(query, vector, self.size + min(out, self.size))
        if len(found) < self.size and out > self.size:
            found = self._best(query, vector, self.size + out)
        return found

    def _best(self, query: Query, vector: Floats, wanted: int) -> Candidates:
        left = len(self.catalogue)
        if query.rule is not None:
            left = int(np.count_nonzero(query.rule & self.catalogue.available))
        if query.rule is not None and left <= EXACT:
            rows = np.flatnonzero(query.rule & self.catalogue.available).astype(np.int32)
        else:
            more = min(len(self.catalogue) / left, MOST_MORE)
            _, found = self.index.search(vector[None], min(int(wanted * more), self.index.size))
            rows = np.concatenate([found[0][found[0] >= 0], self._late()])
        rows = rows[eligible(query, self.catalogue, rows)]
        scores = self.catalogue.items.take(rows) @ vector
        best = descending(scores, rows)[: self.size]
        return Candidates.of(rows[best], score=scores[best].astype(np.float32))

    def _late(self) -> Rows:
        """Items that came after the index."""
        return np.arange(self.index.size, len(self.catalogue), dtype=np.int32)
