"""What goes with one item: whose OUT vector answers its IN vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from retrieval.complements import Complements
from retrieval.index import VectorIndex
from service.cascade.candidates import Candidates
from service.cascade.eligible import barred, eligible
from service.cascade.query import Query
from service.cascade.sources.anchor import anchor_of
from service.catalogue import Catalogue
from service.errors import Degraded

Floats = NDArray[np.float32]

STAND_INS = 10
"""An anchor without vectors asks with those of so many items that are nearest to it by content."""
_LOOKED_AT = 50
_UNDER_RULE = 10


@dataclass(frozen=True, slots=True)
class Asking:
    """The IN vector that an anchor asks with: its own, or for an item that nobody has met yet, such as one
    that came after the export, the mean over the known items nearest to it in the space of the towers."""

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
        near = self.index.search(direction, min(_LOOKED_AT, self.index.size))[1][0]
        near = near[near >= 0]
        near = near[self.complements.knows(near)][:STAND_INS]
        return self.complements.query(near, np.ones(len(near), np.float32))


@dataclass(frozen=True, slots=True)
class GoesWith:
    """Items of the bundle whose OUT vectors are nearest to what the anchor asks with.

    An item that came after the export has no OUT vector: the next bundle knows whom it goes with.
    """

    asking: Asking | None
    size: int
    name: ClassVar[str] = "complements"
    requires: ClassVar[tuple[str, ...]] = ()

    def fetch(self, query: Query) -> Candidates:
        """`score` is the cosine of IN and OUT.

        Raises:
            Degraded: the bundle has no such vectors.
        """
        if self.asking is None:
            raise Degraded(self.name, "this bundle has no dual vectors; one that is trained anew has")
        wanted = self.size * (1 if query.rule is None else _UNDER_RULE) + len(barred(query))
        rows, scores = self.asking.complements.search(self.asking.vector(query), wanted)
        able = eligible(query, self.asking.catalogue, rows) & (scores > 0)
        return Candidates.of(rows[able], score=scores[able])
