"""FAISS indexes by inner product: flat, inverted lists, graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from models.artifacts import BundleError
from retrieval.threads import bound_threads

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]


class FaissIndex:
    """One FAISS index; the row of a vector is its number in the order of adding."""

    def __init__(self, index: Any, *, threads: int = 1) -> None:
        self._index = index
        self._threads = threads

    @property
    def size(self) -> int:
        """Number of vectors."""
        return int(self._index.ntotal)

    @property
    def kind(self) -> str:
        """ "flat", "ivf" or "hnsw"."""
        kinds = {faiss.IndexIVF: "ivf", faiss.IndexHNSW: "hnsw"}
        return next((kind for parent, kind in kinds.items() if isinstance(self._index, parent)), "flat")

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """See `retrieval.index.VectorIndex`."""
        if not np.isfinite(queries).all():
            raise ValueError("a query has a component that is not finite")
        if k < 1 or len(queries) == 0:
            return np.zeros((len(queries), 0), np.float32), np.zeros((len(queries), 0), np.int32)
        bound_threads(self._threads)
        scores, rows = self._index.search(np.ascontiguousarray(queries, np.float32), k)
        rows = rows.astype(np.int32)
        scores[rows < 0] = -np.inf
        return scores, rows

    def save(self, path: Path) -> None:
        """Write the index to one file."""
        faiss.write_index(self._index, str(path))

    @classmethod
    def open(cls, path: Path, *, threads: int = 1) -> FaissIndex:
        """Map a saved index into memory, so that processes share its pages.

        Raises:
            BundleError: the file is missing, cut short or no index.
        """
        try:
            # IO_FLAG_MMAP would turn inverted lists into on-disk ones, whose prefetch threads make a search
            # three times slower; IFC maps the very same arrays.
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise BundleError(f"{path}: not a readable FAISS index: {str(error).splitlines()[0]}") from error
        return cls(index, threads=threads)


def build_flat(vectors: Floats) -> Any:
    """Exact search over all vectors."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def build_ivf(vectors: Floats, lists: int, probes: int, seed: int) -> Any:
    """Inverted lists: a query reads the `probes` of `lists` cells whose centres suit it best."""
    width = vectors.shape[1]
    coarse = faiss.IndexFlatIP(width)
    index = faiss.IndexIVFFlat(coarse, width, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = seed
    index.cp.min_points_per_centroid = 1
    index.cp.max_points_per_centroid = 128
    index.train(vectors)
    index.add(vectors)
    index.nprobe = min(probes, lists)
    return index


def build_hnsw(vectors: Floats, links: int, effort: int, breadth: int) -> Any:
    """A navigable graph: `links` per vector, `effort` while building, `breadth` while searching."""
    index = faiss.IndexHNSWFlat(vectors.shape[1], links, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = effort
    index.hnsw.efSearch = breadth
    index.add(vectors)
    return index
