"""What goes with an item, by dual vectors: the item asks with its own, and others answer with theirs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retrieval.index import VectorIndex

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]


STAND_INS = 10
"""An item that nobody has met has the dual vectors of so many items that are nearest to it by content."""
LOOKED_AT = 50
"""So many of the nearest are looked at: those that nobody has met stand in for nothing."""


@dataclass(frozen=True)
class Complements:
    """IN and OUT vectors of m items, of length 1, or 0 where an item was never met; d dimensions.

    `inward` and `outward` [m, d] may be memory maps, `index` searches the latter by inner product. Two items
    with alike IN vectors are met in the same company, so one replaces the other; where the IN vector of one
    is alike to the OUT vector of another, the second is the company of the first (Grbovic et al. 2015,
    arXiv 1606.07154; the dual vectors of Nalisnick et al. 2016, arXiv 1602.01137). `late`, IN and OUT [k, d],
    are those of the k items after the m, as `inferred` gives them; the index does not have them.
    """

    inward: Floats
    outward: Floats
    index: VectorIndex
    late: tuple[Floats, Floats] | None = None

    def with_late(self, inward: Floats, outward: Floats) -> Complements:
        """With the vectors [k, d] of the items that came after the m."""
        return replace(self, late=(inward, outward))

    def knows(self, rows: Rows) -> NDArray[np.bool_]:
        """Which of the rows [N] have vectors."""
        known: NDArray[np.bool_] = np.any(self._take(0, rows) != 0.0, axis=1)
        return known

    def inferred(self, near: Rows, closeness: Floats) -> tuple[Floats, Floats]:
        """IN and OUT vectors [n, d] of n items by those of the items `near` [n, K] each, nearest first.

        They are means by `closeness` [n, K], which a negative one has no part in, over the first `STAND_INS`
        that are known; 0 where none is (our choice). Their lengths stay below 1: so an item is met as often
        as its stand-ins are on average, and no more because a mean has less noise.
        """
        inward, outward = (self._take(side, np.maximum(near, 0)) for side in (0, 1))
        known = (near >= 0) & inward.any(axis=2)
        weights = np.maximum(closeness, 0.0) * (known & (known.cumsum(axis=1) <= STAND_INS))
        weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
        means = (np.einsum("nk,nkd->nd", weights, each) for each in (inward, outward))
        first, second = (mean.astype(np.float32) for mean in means)
        return first, second

    def query(self, rows: Rows, weights: Floats) -> Floats:
        """One IN vector [d] for known items [N]: their weighted mean at length 1; zeros for no items."""
        mean = weights @ self._take(0, rows)
        length = np.linalg.norm(mean)
        found: Floats = (mean / max(float(length), 1e-12)).astype(np.float32)
        return found

    def search(self, query: Floats, size: int) -> tuple[Rows, Floats]:
        """The best `size` items and the cosines of their OUT vectors with the IN vector, best first."""
        scores, rows = self.index.search(query[None], min(size, self.index.size))
        found = rows[0] >= 0
        return rows[0][found].astype(np.int32, copy=False), scores[0][found]

    def score(self, query: Floats, rows: Rows) -> Floats:
        """The same cosines for given rows [N]; 0 for rows without a vector."""
        return self._take(1, rows) @ query

    def alike(self, query: Floats, rows: Rows) -> Floats:
        """Cosines of the IN vectors of rows [N] with an IN vector; 0 for rows without one."""
        return self._take(0, rows) @ query

    def _take(self, side: int, rows: Rows) -> Floats:
        """IN (0) or OUT (1) vectors of rows of any shape: [*rows.shape, d]; zeros beyond the last one."""
        table = (self.inward, self.outward)[side]
        found: Floats = np.asarray(table[np.minimum(rows, len(table) - 1)], np.float32)
        newer = rows >= len(table)
        if newer.any():
            found = np.array(found)
            late = np.zeros((0, found.shape[-1]), np.float32) if self.late is None else self.late[side]
            places = rows[newer] - len(table)
            held = places < len(late)
            values = np.zeros((len(places), found.shape[-1]), np.float32)
            values[held] = late[places[held]]
            found[newer] = values
        return found
