"""Diversity: a list that is good and not all alike, by one of two methods under one knob."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ranking.dpp import dpp
from ranking.mmr import mmr

Floats = NDArray[np.float32]
Positions = NDArray[np.intp]
Method = Literal["dpp", "mmr"]

METHODS: Mapping[str, Callable[[Floats, Floats, int, float], Positions]] = {"dpp": dpp, "mmr": mmr}
"""How a list is put together: against all that is in it (dpp), or the most alike of it (mmr)."""


def diversify(
    scores: Floats, vectors: Floats, size: int, strength: float, method: Method = "dpp"
) -> Positions:
    """At most `size` distinct positions, best first, of N items with `scores` [N] and `vectors` [N, d].

    `method` trades relevance, the score scaled to 0..1 over the items, against novelty beside what is picked.
    Strength 0 is the order of the scores exactly, 1 ignores them but for ties. Scores that are not
    finite come last; ties by position.
    """
    finite = np.isfinite(scores)
    order = np.argsort(np.where(finite, -scores, np.inf), kind="stable")
    size = min(size, len(order))
    able = int(finite.sum())
    if strength <= 0 or min(size, able) <= 1:
        return order[:size]
    ranked = scores[order[:able]]
    spread = ranked[0] - ranked[-1]
    relevance = (ranked - ranked[-1]) / spread if spread > 0 else np.zeros_like(ranked)
    directions = _unit(np.nan_to_num(vectors[order[:able]], posinf=0.0, neginf=0.0))
    picked = METHODS[method](relevance, directions, min(size, able), min(strength, 1.0))
    return np.concatenate([order[picked], order[able:size]]) if size > able else order[picked]


def _unit(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: Floats = (vectors / np.maximum(length, 1e-12)).astype(np.float32)
    return units
