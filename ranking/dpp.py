"""Greedy MAP inference for a determinantal point process, by a growing Cholesky factor (arXiv 1709.05135)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Positions = NDArray[np.intp]

_DISTINCT = np.float32(0.01)
"""Every item is at least this much its own: two equal items are possible, though dear."""
_WORST = np.float32(-np.log(_DISTINCT))


def dpp(relevance: Floats, directions: Floats, size: int, strength: float) -> Positions:
    """`size` of N positions by `relevance` [N] in 0..1 and unit vectors `directions` [N, d].

    Each step takes the greatest (1 - strength) * relevance + strength * novelty. Novelty is the log of what
    is left of the item's direction beside all those picked (the gain in the log-determinant of the paper's
    kernel), scaled to -1..0: our scaling of its trade-off. Ties by position. O(size^2 * N).
    """
    merit = ((1.0 - strength) * relevance).astype(np.float32)
    scale = np.float32(strength) / _WORST
    left = np.ones(len(relevance), np.float32)
    basis = np.zeros((size, len(relevance)), np.float32)
    picked = np.zeros(size, np.intp)
    for step in range(size):
        best = int(np.argmax(merit + scale * np.log(left)))
        picked[step] = best
        merit[best] = -np.inf
        alike = (1 - _DISTINCT) * (directions @ directions[best])
        row = (alike - basis[:step, best] @ basis[:step]) / np.sqrt(left[best])
        basis[step] = row
        left = np.maximum(left - row * row, _DISTINCT)
    return picked
