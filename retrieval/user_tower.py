"""The user tower: from a history of events to a query of the item index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.encode import History
from models.graph import Graph, VectorTable, history_inputs

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class UserTower:
    """`graph` reads events from `item_vectors` [m, d + 1], an array or a table."""

    graph: Graph
    item_vectors: Floats | VectorTable

    def encode(self, history: History, profile: NDArray[np.int64]) -> Floats:
        """The vector [d + 1] of one user: unit vector times scale, bias weight last; `profile` [1, P]."""
        vector: Floats = self.encode_batch(history, profile)[0]
        return vector

    def encode_batch(self, history: History, profile: NDArray[np.int64]) -> Floats:
        """The vectors [B, d + 1] of B users."""
        return self.graph.run(**history_inputs(history, profile, self.item_vectors))
