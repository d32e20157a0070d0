"""Vector search by inner product: the interface, and its kinds by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.faiss_index import FaissIndex, build_flat, build_hnsw, build_ivf
from retrieval.threads import bound_threads

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]


class VectorIndex(Protocol):
    """Finds the vectors of largest inner product (contract suite: `tests/contracts/vector_index.py`)."""

    @property
    def size(self) -> int:
        """Number of vectors."""

    @property
    def kind(self) -> str:
        """Its name in `KINDS`."""

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """For queries [q, d] the best k: scores [q, k] descending and distinct rows [q, k] int32.

        Where fewer than k are found, the rest is row -1 with score -inf.

        Raises:
            ValueError: a query has a component that is not finite.
        """

    def save(self, path: Path) -> None:
        """Write the index to one file."""


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Which index, and how thorough it is.

    kind      "flat" (exact), "ivf" (inverted lists), "hnsw" (graph), "auto" (flat up to 20,000 vectors)
    lists     ivf: cells; 0 = 4 sqrt(m)                probes    ivf: cells that a query reads
    links     hnsw: edges per vector                   effort    hnsw: candidates held while building
    breadth   hnsw: candidates held while searching
    """

    kind: str = "auto"
    lists: int = 0
    probes: int = 24
    links: int = 32
    effort: int = 80
    breadth: int = 128


def build_index(vectors: Floats, settings: IndexSettings, seed: int, *, threads: int = 1) -> VectorIndex:
    """Index `vectors` [m, d] float32; row i is vector i. The same seed and threads give the same answers.

    Raises:
        ValueError: the kind is unknown, or a component is not finite.
    """
    kind = ("flat" if len(vectors) <= 20_000 else "ivf") if settings.kind == "auto" else settings.kind
    if kind not in KINDS:
        raise ValueError(f"unknown index kind {kind!r}; known are {sorted(KINDS)}")
    if not np.isfinite(vectors).all():
        raise ValueError("a vector has a component that is not finite")
    bound_threads(threads)
    return KINDS[kind](np.ascontiguousarray(vectors, np.float32), settings, seed)


def open_index(path: Path, *, threads: int = 1) -> VectorIndex:
    """Open a saved index of any kind; the file remembers its settings.

    Raises:
        BundleError: the file is missing, cut short or no index.
    """
    return FaissIndex.open(path, threads=threads)


def _flat(vectors: Floats, settings: IndexSettings, seed: int) -> VectorIndex:
    return FaissIndex(build_flat(vectors))


def _ivf(vectors: Floats, settings: IndexSettings, seed: int) -> VectorIndex:
    lists = min(settings.lists or int(4 * len(vectors) ** 0.5), len(vectors)) or 1
    return FaissIndex(build_ivf(vectors, lists, settings.probes, seed))


def _hnsw(vectors: Floats, settings: IndexSettings, seed: int) -> VectorIndex:
    return FaissIndex(build_hnsw(vectors, settings.links, settings.effort, settings.breadth))


KINDS: Mapping[str, Callable[[Floats, IndexSettings, int], VectorIndex]] = {
    "flat": _flat,
    "ivf": _ivf,
    "hnsw": _hnsw,
}
