"""Matrix factorisation as a source: a user's factors solved from the events of this moment, then a search."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from retrieval.index import VectorIndex

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Factors:
    """Item factors of weighted matrix factorisation (Hu, Koren, Volinsky 2008): m items, d dimensions.

    `vectors` [m, d] may be a memory map, `index` searches them by inner product. `alpha` is the weight of an
    event, 1 that of every other cell, and `l2` the ridge.
    """

    vectors: Floats
    index: VectorIndex
    alpha: float
    l2: float
    _base: NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        vectors = np.asarray(self.vectors)
        base = (vectors.T @ vectors).astype(np.float64)
        base[np.diag_indices_from(base)] += self.l2
        object.__setattr__(self, "_base", base)

    def user(self, history: Rows) -> Floats:
        """The user's factors [d], given the items' [R]: the closed form of one half-step of the training.

        x = (V'V + l2 I + (alpha - 1) H'H)^-1 alpha H'1, where H are the history's factors, each item once.
        """
        met = np.asarray(self.vectors[np.unique(history)], np.float64)
        normal = self._base + (self.alpha - 1.0) * (met.T @ met)
        solved: Floats = np.linalg.solve(normal, self.alpha * met.sum(axis=0)).astype(np.float32)
        return solved

    def search(self, history: Rows, size: int) -> tuple[Rows, Floats]:
        """The best `size` items and their scores, best first; nothing for an empty history.

        Items of the history may be among them.
        """
        if len(history) == 0:
            return np.zeros(0, np.int32), np.zeros(0, np.float32)
        return self.nearest(self.user(history), size)

    def nearest(self, user: Floats, size: int) -> tuple[Rows, Floats]:
        """The same for the user's factors [d]."""
        if size <= 0:
            return np.zeros(0, np.int32), np.zeros(0, np.float32)
        scores, rows = self.index.search(user[None], min(size, self.index.size))
        found = rows[0] >= 0
        return rows[0][found].astype(np.int32, copy=False), scores[0][found]
