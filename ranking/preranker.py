"""The pre-ranker: K interests of a user against precomputed item vectors (HCN, arXiv 2210.10547)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from models.encode import History
from models.graph import Graph, VectorTable, gather, history_inputs

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PreRanker:
    """`graph` reads events from `vectors` [m, dp], an array or a table, and so does the score."""

    graph: Graph
    vectors: Floats | VectorTable

    def interests(self, history: History, profile: NDArray[np.int64]) -> Floats:
        """The interest vectors [K, dp] of one user; `profile` [1, P]."""
        vectors: Floats = self.interests_batch(history, profile)[0]
        return vectors

    def interests_batch(self, history: History, profile: NDArray[np.int64]) -> Floats:
        """The interest vectors [B, K, dp] of B users."""
        return self.graph.run(**history_inputs(history, profile, self.vectors))

    def score(self, interests: Floats, rows: Rows) -> Floats:
        """Best interest . item vector [N] of the items `rows` [N]."""
        # Rows of the table from the left: the product is half as long that way, and the largest of a few
        # columns is a fraction of it, unlike the largest of each of many rows.
        columns = (gather(self.vectors, rows) @ interests.T).T
        best: Floats = reduce(np.maximum, columns)
        return best
