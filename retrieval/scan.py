"""Exact search among vectors that change too often for an index: those of items newer than the bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.faiss_index import FaissIndex, build_flat
from retrieval.index_settings import METRIC, IndexSettings
from retrieval.threads import bound_threads

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]

_knn: Any = faiss.knn
"""FAISS's own stubs do not know it: what a flat index computes, over an array."""


@dataclass(frozen=True, slots=True)
class Scan:
    """A `retrieval.index.VectorIndex` that needs no building: `vectors` [n, d], all read per query."""

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
        """For queries [q, d] the best k inner products and their rows; -1 where there are fewer.

        Raises:
            ValueError: a query has a component that is not finite, or another dimension than the vectors.
        """
        if queries.shape[1] != self.dim:
            raise ValueError(f"queries have {queries.shape[1]} components, the index has {self.dim}")
        if not np.isfinite(queries).all():
            raise ValueError("a query has a component that is not finite")
        if k < 1 or len(queries) == 0 or self.size == 0:
            shape = (len(queries), max(k, 0))
            return np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int32)
        bound_threads(1)
        vectors = np.ascontiguousarray(self.vectors, np.float32)
        scores, rows = _knn(
            np.ascontiguousarray(queries, np.float32), vectors, k, metric=faiss.METRIC_INNER_PRODUCT
        )
        scores[rows < 0] = -np.inf
        return scores, rows.astype(np.int32)
