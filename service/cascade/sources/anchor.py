"""What is like one item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from retrieval.index import VectorIndex
from retrieval.neighbours import Neighbours
from service.cascade.candidates import Candidates
from service.cascade.eligible import barred, eligible
from service.cascade.query import Floats, Query
from service.catalogue import Catalogue

_UNDER_RULE = 10


def anchor_of(query: Query) -> int:
    """The row that a similar query starts from."""
    assert query.anchor is not None, "a similar query has an anchor"
    return query.anchor


@dataclass(frozen=True, slots=True)
class TogetherWith:
    """The anchor's item-to-item list: what the same users took. An item newer than the bundle has none."""

    neighbours: Neighbours
    catalogue: Catalogue
    name: ClassVar[str] = "together"
    requires: ClassVar[tuple[str, ...]] = ()

    def fetch(self, query: Query) -> Candidates:
        """`score` is the similarity of the list."""
        anchor = anchor_of(query)
        if anchor >= len(self.neighbours.rows):
            return Candidates.of(np.zeros(0, np.int32), score=np.zeros(0, np.float32))
        rows, scores = self.neighbours.score(np.array([anchor], np.int32), np.ones(1, np.float32))
        able = eligible(query, self.catalogue, rows)
        return Candidates.of(rows[able], score=scores[able])


@dataclass(frozen=True, slots=True)
class Nearby:
    """Items whose vectors point the anchor's way, those newer than the bundle included."""

    index: VectorIndex
    catalogue: Catalogue
    size: int
    name: ClassVar[str] = "nearby"
    requires: ClassVar[tuple[str, ...]] = ()

    def fetch(self, query: Query) -> Candidates:
        """`score` is the inner product of directions; item biases do not count."""
        direction = self.catalogue.items.take(np.array([anchor_of(query)]))
        direction[:, -1] = 0.0
        wanted = self.size * (1 if query.rule is None else _UNDER_RULE)
        out = len(barred(query))
        found = self._near(query, direction, wanted + min(out, wanted))
        if len(found) < self.size and out > wanted:
            found = self._near(query, direction, wanted + out)
        return found

    def _near(self, query: Query, direction: Floats, wanted: int) -> Candidates:
        scores, rows = self.index.search(direction, min(wanted, self.index.size))
        rows, scores = rows[0][rows[0] >= 0], scores[0][rows[0] >= 0]
        delta = self.catalogue.delta if query.rule is None else self.catalogue.delta.where(query.rule)
        new_scores, new = delta.search(direction, wanted)
        rows = np.concatenate([rows, new[0]])
        scores = np.concatenate([scores, new_scores[0]])
        able = eligible(query, self.catalogue, rows)
        return Candidates.of(rows[able], score=scores[able])
