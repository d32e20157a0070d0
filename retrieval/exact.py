"""Exact search: the truth that an index is measured against."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from models.artifacts import taken
from retrieval.index import VectorIndex
from retrieval.index_settings import RECALL_AT as RECALL_AT
from retrieval.order import top_mask
from retrieval.threads import bound_threads

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]

_BLOCK = 1 << 16
"""Vectors that are scored at once."""
_ROUNDING = 1e-5
"""Scores that differ by less, relative to the largest, are ties: an index sums in another order."""


def exact_search(vectors: Floats, queries: Floats, k: int) -> tuple[Floats, Rows]:
    """The `k` best of `vectors` [m, d] for queries [q, d] by inner product: scores and rows [q, min(k, m)].

    Best first, ties by row. Reads a memory map in blocks, so that memory is bounded.
    """
    scores, rows = np.zeros((len(queries), 0), np.float32), np.zeros((len(queries), 0), np.int32)
    for start in range(0, len(vectors), _BLOCK):
        block = queries @ np.asarray(vectors[start : start + _BLOCK], np.float32).T
        own = np.arange(start, start + block.shape[1], dtype=np.int32)
        scores = np.concatenate([scores, block], axis=1)
        rows = np.concatenate([rows, np.broadcast_to(own, block.shape)], axis=1)
        best = top_mask(scores, k)
        scores, rows = scores[best].reshape(len(queries), -1), rows[best].reshape(len(queries), -1)
    order = np.lexsort((rows, -scores), axis=1)
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)


def best_scores(vectors: Floats, queries: Floats, k: int, *, threads: int = 1) -> Floats:
    """The `k` largest inner products of queries [q, d] with `vectors` [m, d], descending: [q, min(k, m)].

    What `exact_search` says of scores, several times faster and without the interpreter's lock: a request
    that is answered meanwhile does not wait for it.
    """
    bound_threads(threads)
    queries = np.ascontiguousarray(queries, np.float32)
    best = np.zeros((len(queries), 0), np.float32)
    for start in range(0, len(vectors), _BLOCK):
        block = np.ascontiguousarray(vectors[start : start + _BLOCK], np.float32)
        scores, _ = faiss.knn(queries, block, min(k, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
        best = -np.sort(-np.concatenate([best, scores], axis=1), axis=1)[:, :k]
    return best


def recalls(index: VectorIndex, vectors: Floats, queries: Floats, k: int, *, threads: int = 1) -> Floats:
    """Share of the exact `k` best that the index finds for each of queries [q, d]: [q]; ties may stand in.

    What was found counts by its true inner product, whatever score the index gives it.

    Raises:
        ValueError: there is no query or no vector.
    """
    if len(queries) == 0 or len(vectors) == 0:
        raise ValueError("recall needs a query and a vector at least")
    scores = best_scores(vectors, queries, k, threads=threads)
    _, found = index.search(queries, scores.shape[1])
    return found_share(vectors, queries, found, scores)


def found_share(vectors: Floats, queries: Floats, found: Rows, scores: Floats) -> Floats:
    """Share of rows `found` [q, k] that are as good as the exact best `scores` [q, k]: [q]."""
    real = np.where(found >= 0, np.einsum("qd,qkd->qk", queries, taken(vectors, found)), -np.inf)
    edge = scores[:, -1:] - _ROUNDING * np.abs(scores).max(axis=1, keepdims=True)
    share: Floats = (real >= edge).mean(axis=1, dtype=np.float32)
    return share


def index_recall(index: VectorIndex, vectors: Floats, queries: Floats, k: int, *, threads: int = 1) -> float:
    """The mean of `recalls`.

    Raises:
        ValueError: there is no query or no vector.
    """
    return float(recalls(index, vectors, queries, k, threads=threads).mean(dtype=np.float64))
