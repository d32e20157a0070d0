"""Diversity: a list that is good and not all alike, by greedy DPP (arXiv 1709.05135)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Positions = NDArray[np.intp]

_DISTINCT = np.float32(0.01)
"""Every item is at least this much its own: two equal items are possible, though dear."""
_WORST = np.float32(-np.log(_DISTINCT))


def diversify(scores: Floats, vectors: Floats, size: int, strength: float) -> Positions:
    """At most `size` distinct positions, best first, of N items with `scores` [N] and `vectors` [N, d].

    Each step picks the greatest (1 - strength) * relevance + strength * novelty: relevance is the score
    scaled to 0..1 over the items, novelty the log of what is left of the item's direction beside those
    picked, scaled to -1..0 (our scaling of the paper's trade-off). Strength 0 is the order of the scores
    exactly, 1 ignores them but for ties. Scores that are not finite come last; ties by position.
    """
    finite = np.isfinite(scores)
    order = np.argsort(np.where(finite, -scores, np.inf), kind="stable")
    size = min(size, len(order))
    able = int(finite.sum())
    if strength <= 0 or min(size, able) <= 1:
        return order[:size]
    picked = _greedy(scores[order[:able]], vectors[order[:able]], min(size, able), min(strength, 1.0))
    return np.concatenate([order[picked], order[able:size]]) if size > able else order[picked]


def _greedy(scores: Floats, vectors: Floats, size: int, strength: float) -> Positions:
    """Positions by greedy MAP inference; `basis` is the growing Cholesky factor [size, N] of the kernel."""
    directions = _unit(np.nan_to_num(vectors, posinf=0.0, neginf=0.0))
    spread = scores[0] - scores[-1]
    relevance = (scores - scores[-1]) / spread if spread > 0 else np.zeros_like(scores)
    merit = ((1.0 - strength) * relevance).astype(np.float32)
    scale = np.float32(strength) / _WORST
    left = np.ones(len(scores), np.float32)
    basis = np.zeros((size, len(scores)), np.float32)
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


def _unit(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: Floats = (vectors / np.maximum(length, 1e-12)).astype(np.float32)
    return units
