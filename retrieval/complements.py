"""What goes with an item, by dual vectors: the item asks with its own, and others answer with theirs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.index import VectorIndex

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Complements:
    """IN and OUT vectors of m items, of length 1, or 0 where an item was never met; d dimensions.

    `inward` and `outward` [m, d] may be memory maps, `index` searches the latter by inner product. Two items
    with alike IN vectors are met in the same company, so one replaces the other; where the IN vector of one
    is alike to the OUT vector of another, the second is the company of the first (Grbovic et al. 2015,
    arXiv 1606.07154; the dual vectors of Nalisnick et al. 2016, arXiv 1602.01137).
    """

    inward: Floats
    outward: Floats
    index: VectorIndex

    def knows(self, rows: Rows) -> NDArray[np.bool_]:
        """Which of the rows [N] have vectors: not those newer than the bundle, nor those that nobody met."""
        listed = rows < len(self.inward)
        known: NDArray[np.bool_] = listed.copy()
        known[listed] = np.asarray(self.inward[rows[listed]]).any(axis=1)
        return known

    def query(self, rows: Rows, weights: Floats) -> Floats:
        """One IN vector [d] for known items [N]: their weighted mean at length 1; zeros for no items."""
        mean = weights @ np.asarray(self.inward[rows], np.float32)
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
        return _products(self.outward, query, rows)

    def alike(self, query: Floats, rows: Rows) -> Floats:
        """Cosines of the IN vectors of rows [N] with an IN vector; 0 for rows without one."""
        return _products(self.inward, query, rows)


def _products(vectors: Floats, query: Floats, rows: Rows) -> Floats:
    listed = rows < len(vectors)
    scores = np.zeros(len(rows), np.float32)
    scores[listed] = np.asarray(vectors[rows[listed]], np.float32) @ query
    return scores
