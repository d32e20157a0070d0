"""Vector search by inner product: the interface, and its kinds by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.cells import centres
from retrieval.faiss_index import (
    FaissIndex,
    build_cells,
    build_codes,
    build_flat,
    build_halves,
    build_hnsw,
    build_pq,
    build_pq4,
)
from retrieval.index_settings import METRIC, IndexSettings
from retrieval.threads import bound_threads

__all__ = ["KINDS", "METRIC", "IndexSettings", "NotFinite", "VectorIndex", "build_index", "open_index"]

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]


class VectorIndex(Protocol):
    """Finds the vectors of largest inner product (contract suite: `tests/contracts/vector_index.py`)."""

    @property
    def size(self) -> int:
        """Number of vectors."""

    @property
    def dim(self) -> int:
        """Components of a vector."""

    @property
    def metric(self) -> str:
        """`METRIC`."""

    @property
    def kind(self) -> str:
        """Its name in `KINDS`."""

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """For queries [q, d] the best k: scores [q, k] descending and distinct rows [q, k] int32.

        Only where fewer than k vectors exist, the rest is row -1 with score -inf. Kinds that keep
        less than the vectors ("half", "sq8"), or that refine ("ivfpq", "pq4") and are asked for more than
        they refine, give scores of what they keep, all others inner products.

        Raises:
            ValueError: a query has a component that is not finite, or another dimension than the index.
        """

    def searching(self, settings: IndexSettings) -> VectorIndex:
        """The same vectors, searched as `settings` says; nothing is copied and this index stays as it is."""

    def save(self, path: Path) -> None:
        """Write the index to one file."""


class NotFinite(ValueError):
    """A vector with NaN or infinity; the message names the item."""


def build_index(
    vectors: Floats,
    settings: IndexSettings,
    seed: int,
    *,
    threads: int = 1,
    clusters: Floats | None = None,
    names: Sequence[str] | None = None,
) -> VectorIndex:
    """Index `vectors` [m, d] float32; row i is vector i. The same seed and threads give the same answers.

    `clusters` [C, d or less] are centres that already exist and may serve as cells (`retrieval.cells` says
    when); `names` [m] are what the vectors are called in an error.

    Raises:
        NotFinite: a component is NaN or infinite; names the vector.
        ValueError: the kind is unknown.
    """
    settings = settings.resolved(len(vectors))
    if settings.kind not in KINDS:
        raise ValueError(f"unknown index kind {settings.kind!r}; known are {sorted(KINDS)}")
    check_finite(vectors, names)
    bound_threads(threads)
    vectors = np.ascontiguousarray(vectors, np.float32)
    index = FaissIndex(KINDS[settings.kind](vectors, settings, seed, clusters), threads=threads)
    return index.searching(settings)


def open_index(path: Path, settings: IndexSettings | None = None, *, threads: int = 1) -> VectorIndex:
    """Map a saved index of any kind into memory; without `settings` it is searched as it was built to be.

    Raises:
        BundleError: the file is missing, cut short or no index.
    """
    index = FaissIndex.open(path, threads=threads)
    return index if settings is None else index.searching(settings)


def check_finite(vectors: Floats, names: Sequence[str] | None = None) -> None:
    """Refuse NaN and infinity.

    Raises:
        NotFinite: names the first such vector, by its row and by its name.
    """
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        row = int(broken[0])
        name = f"item {names[row]!r} (row {row})" if names is not None else f"row {row}"
        value = next(float(each) for each in vectors[row] if not np.isfinite(each))
        raise NotFinite(
            f"the vector of {name} has a component that is {value}, not finite; "
            f"{len(broken)} of {len(vectors)} vectors are so, and none may enter an index"
        )


Build = Callable[[Floats, IndexSettings, int, "Floats | None"], object]


def _cells(vectors: Floats, settings: IndexSettings, seed: int, clusters: Floats | None) -> object:
    return build_cells(vectors, centres(vectors, settings.lists, seed, clusters), settings.probes)


def _halves(vectors: Floats, settings: IndexSettings, seed: int, clusters: Floats | None) -> object:
    return build_halves(vectors, centres(vectors, settings.lists, seed, clusters), settings.probes)


def _codes(vectors: Floats, settings: IndexSettings, seed: int, clusters: Floats | None) -> object:
    return build_codes(vectors, centres(vectors, settings.lists, seed, clusters), settings.probes)


def _pq(vectors: Floats, settings: IndexSettings, seed: int, clusters: Floats | None) -> object:
    cells = centres(vectors, settings.lists, seed, clusters)
    return build_pq(vectors, cells, settings.probes, settings.code_bytes, settings.refine, seed)


def _pq4(vectors: Floats, settings: IndexSettings, seed: int, clusters: Floats | None) -> object:
    cells = centres(vectors, settings.lists, seed, clusters)
    return build_pq4(vectors, cells, settings.probes, settings.code_bytes, settings.refine, seed)


KINDS: Mapping[str, Build] = {
    "flat": lambda vectors, *_: build_flat(vectors),
    "ivf": _cells,
    "half": _halves,
    "hnsw": lambda vectors, settings, *_: build_hnsw(
        vectors, settings.links, settings.effort, settings.breadth
    ),
    "ivfpq": _pq,
    "pq4": _pq4,
    "sq8": _codes,
}
"""Flat (exact), inverted lists of vectors or of halves, graph, product codes of 8 or 4 bits with exact
refinement, 8-bit codes."""
