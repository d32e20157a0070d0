"""Exact search among vectors that change too often for an index: those of items newer than the bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.faiss_index import FaissIndex, build_flat
from retrieval.index_settings import METRIC, IndexSettings

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scan:
    """A `retrieval.index.VectorIndex` that needs no building: `vectors` [n, d], all of them read per query."""

    vectors: Floats

    @property
    def size(self) -> int:
        """Number of vectors."""
        return len(self.vectors)

    @property
    def dim(self) -> int:
        """Components of a vector."""
        return int(self.vectors.shape[1])

    @property
    def metric(self) -> str:
        """`METRIC`."""
        return METRIC

    @property
    def kind(self) -> str:
        """Exact, as the kind of that name."""
        return "flat"

    def searching(self, settings: IndexSettings) -> Scan:
        """There is only one way."""
        return self

    def save(self, path: Path) -> None:
        """Write it as the flat index that it is."""
        FaissIndex(build_flat(np.ascontiguousarray(self.vectors))).save(path)

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """For queries [q, d] the best k inner products and their rows, ties by row; -1 where there are fewer.

        Raises:
            ValueError: a query has a component that is not finite, or another dimension than the vectors.
        """
        if queries.shape[1] != self.dim:
            raise ValueError(f"queries have {queries.shape[1]} components, the vectors have {self.dim}")
        if not np.isfinite(queries).all():
            raise ValueError("a query has a component that is not finite")
        scores = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int32)
        found = min(k, self.size)
        if found > 0:
            products = queries @ self.vectors.T
            best = np.argpartition(-products, found - 1, axis=1)[:, :found].astype(np.int32)
            values = np.take_along_axis(products, best, axis=1)
            order = np.lexsort((best, -values), axis=1)
            rows[:, :found] = np.take_along_axis(best, order, axis=1)
            scores[:, :found] = np.take_along_axis(values, order, axis=1)
        return scores, rows
