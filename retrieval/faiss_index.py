"""FAISS indexes by inner product: flat, inverted lists of vectors, halves or codes, graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from models.artifacts import BundleError
from models.masks import every, some
from retrieval.index_settings import METRIC, RECALL_AT, IndexSettings
from retrieval.threads import bound_threads

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]

_faiss: Any = faiss
"""The same module, for what its own stubs do not know."""
_LANES = 16
"""8-bit codes are decoded so many at a time; another width costs eight times as much."""
_HALVES = 8
"""So are halves; another width costs ten times as much."""
_LARGEST = np.float32(np.finfo(np.float16).max)
"""A component beyond is kept as this one, the most that half precision holds."""
_CODED = np.float32(1e15)
"""A component beyond is coded as this one: the coder does not survive a square that is not finite."""
_QUERY_BY_QUERY = 11
"""FAISS's number of a fast scan of one query's cells after the other's. By itself it scans a cell for all
queries that read it, which pays where many do; of a few interests hardly two read the same."""
_MORE = 4
"""Where a query found too few, it reads so many times as many cells."""


@dataclass(frozen=True, slots=True)
class _Codes:
    """What answers lists longer than `refined`: the same codes, of which none is refined.

    A search for the `RECALL_AT` best, which a recall is stated for, looks at `refined` codes. A longer list
    has all of these, so it finds no fewer; to fetch the vectors of its items would cost more than the search.
    """

    index: Any
    parameters: Any
    refined: int


class FaissIndex:
    """One FAISS index; the row of a vector is its number in the order of adding."""

    def __init__(self, index: Any, *, threads: int = 1, settings: IndexSettings | None = None) -> None:
        self._index = index
        self._threads = threads
        self._parameters = None if settings is None else _parameters(index, settings)
        self._codes = _codes(index, settings)
        if self.kind == "pq4":
            _cells(index).implem = _QUERY_BY_QUERY

    @property
    def size(self) -> int:
        """Number of vectors."""
        return int(self._index.ntotal)

    @property
    def dim(self) -> int:
        """Components of a vector."""
        return int(self._index.d)

    @property
    def metric(self) -> str:
        """`METRIC`, or FAISS's number of another one."""
        number = self._index.metric_type
        return METRIC if number == faiss.METRIC_INNER_PRODUCT else f"FAISS metric {number}"

    @property
    def kind(self) -> str:
        """See `retrieval.index.KINDS`."""
        kind = next((kind for parent, kind in _KINDS.items() if isinstance(self._index, parent)), "flat")
        if kind not in ("ivfpq", "sq8"):
            return kind
        cells = _cells(self._index)
        if kind == "ivfpq":
            return "pq4" if isinstance(cells, faiss.IndexIVFPQFastScan) else kind
        return "half" if _faiss.downcast_index(cells).sq.qtype == faiss.ScalarQuantizer.QT_fp16 else kind

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """See `retrieval.index.VectorIndex`."""
        if queries.shape[1] != self.dim:
            raise ValueError(f"queries have {queries.shape[1]} components, the index has {self.dim}")
        if not every(np.isfinite(queries)):
            raise ValueError("a query has a component that is not finite")
        if k < 1 or len(queries) == 0:
            return np.zeros((len(queries), 0), np.float32), np.zeros((len(queries), 0), np.int32)
        bound_threads(self._threads)
        queries = np.ascontiguousarray(queries, np.float32)
        if self._codes is not None and k > self._codes.refined:
            scores, rows = self._codes.index.search(queries, k, params=self._codes.parameters)
        else:
            scores, rows = self._index.search(queries, k, params=self._parameters)
        self._complete(queries, scores, rows)
        if some(rows[:, -1] < 0):  # what was not found comes last
            scores[rows < 0] = -np.inf
        return scores, rows.astype(np.int32)

    def _complete(self, queries: Floats, scores: Floats, rows: NDArray[np.int64]) -> None:
        """Ask again where fewer were found than exist: cells may be small, and a graph may have islands."""
        wanted = min(rows.shape[1], self.size)
        if wanted == 0 or every(rows[:, wanted - 1] >= 0):
            return
        for index, parameters in self._deeper():
            short = np.flatnonzero((rows >= 0).sum(axis=1) < wanted)
            if len(short) == 0:
                return
            scores[short], rows[short] = index.search(queries[short], rows.shape[1], params=parameters)

    def _deeper(self) -> Iterator[tuple[Any, Any]]:
        """Ever more thorough searches, the last of which sees every vector."""
        if isinstance(self._index, faiss.IndexHNSW):
            yield faiss.downcast_index(self._index.storage), None
            return
        cells = faiss.extract_index_ivf(self._index)
        probes = _MORE
        while probes < cells.nlist:
            probes = min(probes * _MORE, cells.nlist)
            yield self._index, _parameters(self._index, IndexSettings(probes=probes))
        if isinstance(self._index, faiss.IndexRefine):
            # A fast scan never returns the very worst: what rounds to no score is not above none.
            yield faiss.downcast_index(self._index.refine_index), None

    def searching(self, settings: IndexSettings) -> FaissIndex:
        """See `retrieval.index.VectorIndex`."""
        return FaissIndex(self._index, threads=self._threads, settings=settings)

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


_KINDS = {
    faiss.IndexIVFFlat: "ivf",
    faiss.IndexHNSW: "hnsw",
    faiss.IndexRefine: "ivfpq",
    faiss.IndexPreTransform: "sq8",
}
"""The outermost class of each kind but flat; "pq4" has that of "ivfpq", "half" that of "sq8"."""


def build_flat(vectors: Floats) -> Any:
    """Exact search over all vectors."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def build_cells(vectors: Floats, centres: Floats, probes: int) -> Any:
    """Inverted lists: a query reads the `probes` cells whose `centres` [C, d] suit it best."""
    coarse, width = _coarse(centres, vectors.shape[1]), vectors.shape[1]
    index = faiss.IndexIVFFlat(coarse, width, len(centres), faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    index.nprobe = min(probes, len(centres))
    return index


def build_codes(vectors: Floats, centres: Floats, probes: int) -> Any:
    """Inverted lists of 8-bit codes of a vector less its centre: about a third of the memory."""
    return _scalar(vectors, centres, probes, faiss.ScalarQuantizer.QT_8bit, _LANES, residual=True)


def build_halves(vectors: Floats, centres: Floats, probes: int) -> Any:
    """Inverted lists of vectors in half precision: half the memory, and half of it to read at a search."""
    kept = np.clip(vectors, -_LARGEST, _LARGEST)
    return _scalar(kept, centres, probes, faiss.ScalarQuantizer.QT_fp16, _HALVES, residual=False)


def _scalar(
    vectors: Floats, centres: Floats, probes: int, quantizer: int, lanes: int, *, residual: bool
) -> Any:
    width = -(-vectors.shape[1] // lanes) * lanes
    coarse = _coarse(centres, width)
    lists = faiss.IndexIVFScalarQuantizer(
        coarse, width, len(centres), quantizer, faiss.METRIC_INNER_PRODUCT, residual
    )
    lists.nprobe = min(probes, len(centres))
    index = _widened(lists, vectors.shape[1])
    index.train(vectors)
    index.add(vectors)
    return index


def build_pq(vectors: Floats, centres: Floats, probes: int, code_bytes: int, refine: int, seed: int) -> Any:
    """Product codes in inverted lists; the best `refine` times k by code are scored by their whole vectors.

    Only the codes are read at every search; of the vectors, which lie mapped behind them, a query touches
    those few that it refines.
    """
    size = code_bytes or -(-vectors.shape[1] // 2)
    width = -(-vectors.shape[1] // size) * size
    lists = faiss.IndexIVFPQ(
        _coarse(centres, width), width, len(centres), size, 8, faiss.METRIC_INNER_PRODUCT
    )
    lists.pq.cp.seed = seed
    lists.pq.cp.min_points_per_centroid = 1
    lists.nprobe = min(probes, len(centres))
    codes = _widened(lists, vectors.shape[1])
    # A code book has 256 entries and wants as many vectors at least: a few stand in for more.
    codes.train(vectors if len(vectors) >= 256 else np.resize(vectors, (256, vectors.shape[1])))
    index = faiss.IndexRefineFlat(codes)
    index.add(vectors)
    index.k_factor = float(max(refine, 1))
    return index


def build_pq4(vectors: Floats, centres: Floats, probes: int, code_bytes: int, refine: int, seed: int) -> Any:
    """Like `build_pq`, with codes of four bits, by default one per component, whose tables fit registers.

    So a code costs a small part of the time of a vector, and more cells can be read (FAISS's fast scan, after
    arXiv 1704.07355). Vectors are turned about at random first: then all components vary alike, so that all
    codes say as much, and no component of a query takes the eight bits of its tables for itself.
    """
    count = min(2 * code_bytes or vectors.shape[1], vectors.shape[1])
    width = -(-vectors.shape[1] // count) * count
    rotation = _faiss.RandomRotationMatrix(vectors.shape[1], width)
    rotation.init(seed)
    coarse = _coarse(rotation.apply(np.clip(centres, -_CODED, _CODED)), width)
    lists = faiss.IndexIVFPQFastScan(coarse, width, len(centres), count, 4, faiss.METRIC_INNER_PRODUCT)
    lists.by_residual = True
    lists.pq.cp.seed = seed
    lists.pq.cp.min_points_per_centroid = 1
    lists.nprobe = min(probes, len(centres))
    codes = faiss.IndexPreTransform(rotation, lists)
    coded = np.clip(vectors, -_CODED, _CODED)
    codes.train(coded if len(coded) >= 16 else np.resize(coded, (16, coded.shape[1])))
    codes.add(coded)
    index = faiss.IndexRefineFlat(codes, _faiss.swig_ptr(vectors))
    index.k_factor = float(max(refine, 1))
    return index


def build_hnsw(vectors: Floats, links: int, effort: int, breadth: int) -> Any:
    """A navigable graph: `links` per vector, `effort` while building, `breadth` while searching."""
    index = faiss.IndexHNSWFlat(vectors.shape[1], links, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = effort
    index.hnsw.efSearch = breadth
    index.add(vectors)
    return index


def _coarse(centres: Floats, width: int) -> Any:
    coarse = faiss.IndexFlatIP(width)
    coarse.add(np.pad(centres, ((0, 0), (0, width - centres.shape[1]))))
    return coarse


def _widened(index: Any, width: int) -> Any:
    """An index that takes vectors of `width` and pads them with zeros to its own."""
    return faiss.IndexPreTransform(_faiss.RemapDimensionsTransform(width, index.d, False), index)


def _cells(index: Any) -> Any:
    """The inverted lists within."""
    return faiss.downcast_index(faiss.extract_index_ivf(index))


def _codes(index: Any, settings: IndexSettings | None) -> _Codes | None:
    """None where nothing is refined."""
    if not isinstance(index, faiss.IndexRefine):
        return None
    codes = faiss.downcast_index(index.base_index)
    if settings is None:
        return _Codes(codes, None, int(index.k_factor) * RECALL_AT)
    return _Codes(codes, _parameters(codes, settings), max(settings.refine, 1) * RECALL_AT)


def _parameters(index: Any, settings: IndexSettings) -> Any:
    """FAISS's own words for how thorough a search of `index` is; None where there is nothing to say."""
    if isinstance(index, faiss.IndexRefine):
        inner = _parameters(faiss.downcast_index(index.base_index), settings)
        return _faiss.IndexRefineSearchParameters(
            k_factor=float(max(settings.refine, 1)), base_index_params=inner
        )
    if isinstance(index, faiss.IndexPreTransform):
        inner = _parameters(faiss.downcast_index(index.index), settings)
        return _faiss.SearchParametersPreTransform(index_params=inner)
    if isinstance(index, faiss.IndexIVF):
        return _faiss.SearchParametersIVF(nprobe=max(min(settings.probes, index.nlist), 1))
    if isinstance(index, faiss.IndexHNSW):
        return _faiss.SearchParametersHNSW(efSearch=max(settings.breadth, 1))
    return None
