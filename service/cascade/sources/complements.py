"""What goes with one item: whose OUT vector answers its IN vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from retrieval.complements import LOOKED_AT, Complements
from retrieval.index import VectorIndex
from retrieval.order import descending
from service.cascade.candidates import Candidates
from service.cascade.eligible import barred, eligible
from service.cascade.query import Query
from service.cascade.sources.anchor import anchor_of
from service.catalogue import Catalogue
from service.errors import Degraded

Floats = NDArray[np.float32]

_UNDER_RULE = 10


@dataclass(frozen=True, slots=True)
class Asking:
    """The IN vector that an anchor asks with: its own, or for an item of the bundle that nobody has met the
    mean over the known items nearest to it in the space of the towers."""

    complements: Complements
    index: VectorIndex
    catalogue: Catalogue

    def vector(self, query: Query) -> Floats:
        """[d] at length 1; zeros where nothing near is known either."""
        anchor = np.array([anchor_of(query)], np.int32)
        if self.complements.knows(anchor)[0]:
            return self.complements.query(anchor, np.ones(1, np.float32))
        direction = self.catalogue.items.take(anchor)
        direction[:, -1] = 0.0
        closeness, near = self.index.search(direction, min(LOOKED_AT, self.index.size))
        inward = self.complements.inferred(near, closeness)[0][0]
        unit: Floats = inward / np.maximum(np.linalg.norm(inward), np.float32(1e-12))
        return unit


@dataclass(frozen=True, slots=True)
class GoesWith:
    """Items whose OUT vectors are nearest to what the anchor asks with, newer ones as well."""

    asking: Asking | None
    size: int
    name: ClassVar[str] = "complements"
    requires: ClassVar[tuple[str, ...]] = ()

    def fetch(self, query: Query) -> Candidates:
        """`score` is the cosine of IN and OUT; of a newer item the mean of those of its stand-ins.

        Raises:
            Degraded: the bundle has no such vectors.
        """
        if self.asking is None:
            raise Degraded(self.name, "this bundle has no dual vectors; one that is trained anew has")
        wanted = self.size * (1 if query.rule is None else _UNDER_RULE) + len(barred(query))
        dual, vector, late = (
            self.asking.complements,
            self.asking.vector(query),
            self.asking.catalogue.delta.rows,
        )
        rows, scores = dual.search(vector, wanted)
        rows, scores = np.concatenate([rows, late]), np.concatenate([scores, dual.score(vector, late)])
        able = eligible(query, self.asking.catalogue, rows) & (scores > 0)
        rows, scores = rows[able], scores[able]
        best = descending(scores, rows)[:wanted]
        return Candidates.of(rows[best], score=scores[best])
