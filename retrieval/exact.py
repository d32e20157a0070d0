"""Exact search: the truth that an index is measured against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval.index import VectorIndex
from retrieval.order import top_mask

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]

RECALL_AT = 100
RECALL_QUERIES = 500

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


def index_recall(index: VectorIndex, vectors: Floats, queries: Floats, k: int) -> float:
    """Share of the exact `k` best that the index finds for queries [q, d], in the mean; ties may stand in.

    Raises:
        ValueError: there is no query or no vector.
    """
    if len(queries) == 0 or len(vectors) == 0:
        raise ValueError("recall needs a query and a vector at least")
    scores, _ = exact_search(vectors, queries, k)
    _, found = index.search(queries, scores.shape[1])
    real = np.where(found >= 0, np.einsum("qd,qkd->qk", queries, np.asarray(vectors[found])), -np.inf)
    edge = scores[:, -1:] - _ROUNDING * np.abs(scores).max(axis=1, keepdims=True)
    return float((real >= edge).mean())


def sampled_recall(index: VectorIndex, vectors: Floats, queries: Floats) -> float:
    """Recall@`RECALL_AT` over at most `RECALL_QUERIES` of `queries` [q, d], evenly spread; NaN for none."""
    if len(queries) == 0:
        return float("nan")
    count = min(RECALL_QUERIES, len(queries))
    some = np.linspace(0, len(queries) - 1, count).astype(np.int64)
    return index_recall(index, vectors, np.ascontiguousarray(queries[some], np.float32), RECALL_AT)
