"""Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Positions = NDArray[np.intp]


def mmr(relevance: Floats, directions: Floats, size: int, strength: float) -> Positions:
    """`size` of N positions by `relevance` [N] in 0..1 and unit vectors `directions` [N, d].

    Each step takes the greatest (1 - strength) * relevance - strength * the cosine to the most alike of those
    picked; a cosine below 0 counts 0, so that being opposed earns nothing (our choice). Ties by position.
    O(size * N * d).
    """
    merit = ((1.0 - strength) * relevance).astype(np.float32)
    closest = np.zeros(len(relevance), np.float32)
    picked = np.zeros(size, np.intp)
    for step in range(size):
        best = int(np.argmax(merit - np.float32(strength) * closest))
        picked[step] = best
        merit[best] = -np.inf
        closest = np.maximum(closest, directions @ directions[best])
    return picked
