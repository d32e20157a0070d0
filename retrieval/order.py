"""One order for scored rows: score descending, non-finite scores last, ties by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]

_SIGN = np.int32(31)
_MAGNITUDE = np.int32(0x7FFFFFFF)


def descending(scores: Floats, rows: Rows) -> NDArray[np.intp]:
    """Positions [N] from the best score to the worst; non-finite scores last, ties by ascending row.

    Score and row are packed into one int64 key, so that one vectorised sort settles ties as well.
    """
    finite = np.where(np.isfinite(scores), scores, -np.inf).astype(np.float32, copy=False)
    bits = (finite + np.float32(0.0)).view(np.int32)  # + 0.0 makes -0.0 equal to 0.0
    ascending = bits ^ ((bits >> _SIGN) & _MAGNITUDE)
    key = ((~ascending).astype(np.int64) << 32) | rows
    return np.argsort(key)


def top_mask(block: Floats, k: int) -> NDArray[np.bool_]:
    """True at the `k` largest finite values of each row of `block` [b, m]; ties by lowest column."""
    finite = np.where(np.isfinite(block), block, -np.inf)
    if k >= block.shape[1]:
        return finite > -np.inf
    edge = -np.partition(-finite, k - 1, axis=1)[:, k - 1 : k]
    above = finite > edge
    level = (finite == edge) & (edge > -np.inf)
    room = k - above.sum(axis=1, keepdims=True)
    chosen: NDArray[np.bool_] = above | (level & (np.cumsum(level, axis=1) <= room))
    return chosen
