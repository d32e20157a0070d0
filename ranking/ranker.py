"""The ranker: one network over a user's events and each candidate (AW-MoE, arXiv 2306.05011)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.encode import History
from models.graph import Graph, VectorTable, gather, history_inputs

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ranker:
    """`graph` reads events and candidates from `vectors` [m, dr], an array or a table."""

    graph: Graph
    vectors: Floats | VectorTable

    def score(self, history: History, profile: NDArray[np.int64], rows: Rows, cross: Floats) -> Floats:
        """Logits [N] of the items `rows` [N] for one user.

        `profile` [1, P]; `cross` [N, X] are the columns of `models.encode.cross_features`.
        """
        if len(rows) == 0:
            return np.zeros(0, np.float32)
        shared = history_inputs(history, profile, self.vectors)
        return self.graph.run(**shared, candidates=gather(self.vectors, rows), cross=cross)
