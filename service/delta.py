"""The items that came since the bundle was made, to be searched by their vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.scan import Scan
from service.cascade.query import Rows

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Delta:
    """The new items that are available: catalogue `rows` [n], and an `index` over their vectors, in order."""

    rows: Rows
    index: Scan

    def where(self, allowed: Mask) -> Delta:
        """Those that a mask over the catalogue's rows [M] lets through."""
        here = allowed[self.rows]
        return Delta(self.rows[here], Scan(self.index.vectors[here]))

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """For queries [q, d] the best k or all n: scores [q, k] descending and catalogue rows [q, k]."""
        scores, places = self.index.search(queries, min(k, len(self.rows)))
        return scores, self.rows[places]
