"""Item vectors and an item graph from who met what, before any training: the towers' head start."""

from __future__ import annotations

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse.linalg import svds

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

DAMPING = 10.0
"""Added to every user's and item's count of events, so that rare ones do not fill the spectrum."""
SPREAD = 0.05
"""Size of a component of the vectors, that of a random start."""
_NOTHING = 1e-3
"""Singular values below this share of the largest are 0 but for rounding; their vectors are arbitrary."""


def spectral_vectors(seen: scipy.sparse.csr_matrix, dim: int, seed: int, lengths: bool = False) -> Floats:
    """[m, dim] leading right singular vectors of (D_u + a)^-1/2 X (D_i + a)^-1/2, a = `DAMPING`.

    That is what endless propagation over the user-item graph converges to (arXiv 2108.07567, GF-CF). Rows are
    scaled to components of `SPREAD`: lengths that say how popular an item is make logits too sharp to start
    from. With `lengths` they stay, times (D_i + a)^1/2 and brought to the same mean: a mean of directions
    against these rows is GF-CF's ideal low-pass filter, but that an item of the history is weighted by its
    part of the spectrum instead of its count. An item without events, or a dimension beyond the rank, is 0.
    """
    users, items = (np.asarray(seen.sum(axis)).ravel() + DAMPING for axis in (1, 0))
    scaled = scipy.sparse.diags(users**-0.5) @ seen @ scipy.sparse.diags(items**-0.5)
    rank = min(dim, min(seen.shape) - 1)
    vectors = np.zeros((seen.shape[1], dim), np.float32)
    if rank > 0 and seen.nnz > 0:
        _, values, right = svds(scaled.astype(np.float32), k=rank, rng=np.random.default_rng(seed))
        order = np.argsort(-values)
        order = order[values[order] > _NOTHING * values.max()]
        vectors[:, : len(order)] = right[order].T
    if lengths:
        vectors *= (items**0.5)[:, None]
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = max(float(length[length > 0].mean()), 1e-12) if lengths and length.any() else length
    scaled_up: Floats = (vectors * (SPREAD * dim**0.5) / np.maximum(unit, 1e-12)).astype(np.float32)
    return scaled_up


def item_graph(seen: scipy.sparse.csr_matrix, neighbours: int) -> scipy.sparse.csr_matrix:
    """[m, m] each item's strongest `neighbours` in X'^T X' with X' as above, X's rows once more by D_u^-1/2.

    Rows sum to 1, or are empty; an item is not its own neighbour.
    """
    users, items = (np.asarray(seen.sum(axis)).ravel() + DAMPING for axis in (1, 0))
    scaled = seen @ scipy.sparse.diags(items**-0.5)
    weighted = scipy.sparse.diags(1.0 / users) @ scaled
    blocks = []
    for start in range(0, seen.shape[1], _BLOCK):
        part = (scaled[:, start : start + _BLOCK].T @ weighted).tocsr()
        blocks.append(_strongest(part, np.arange(start, start + part.shape[0]), neighbours))
    graph = scipy.sparse.vstack(blocks).tocsr()
    total = np.asarray(graph.sum(1)).ravel()
    return (scipy.sparse.diags(1.0 / np.maximum(total, 1e-12)) @ graph).tocsr().astype(np.float32)


_BLOCK = 2048


def _strongest(part: scipy.sparse.csr_matrix, own: Rows, count: int) -> scipy.sparse.csr_matrix:
    """The `count` largest entries of each row; `own` [b] is each row's diagonal column."""
    owner = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))
    other = part.indices != own[owner]
    owner, column, value = owner[other], part.indices[other], part.data[other]
    order = np.lexsort((column, -value, owner))
    owner, column, value = owner[order], column[order], value[order]
    first = np.searchsorted(owner, np.arange(part.shape[0]))
    kept = np.arange(len(owner)) - first[owner] < count
    return scipy.sparse.csr_matrix((value[kept], (owner[kept], column[kept])), part.shape)
