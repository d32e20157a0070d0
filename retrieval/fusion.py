"""Several ranked lists as one, by reciprocal rank."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

K = 60.0
"""How little the first places differ (Cormack, Clarke & Buettcher 2009)."""


PERSONAL = ("interests", "similar", "factors")
"""Sources that are made for the user; what others propose is the same for everybody."""
PERSONAL_K = 20.0


def places(count: int) -> Floats:
    """What the first `count` places of a source's list add to an item's fused score: 1 / (k + place).

    An item's score is the sum over the lists that have it, all of one weight.
    """
    return (1.0 / (PERSONAL_K + np.arange(1, count + 1))).astype(np.float32)


def reciprocal_ranks(lists: Mapping[str, Floats], weights: Mapping[str, float], k: float = K) -> Floats:
    """sum over lists of weight / (k + rank), divided by the best that an item could have: [N] in 0..1.

    `lists` are the scores [N] of the same N candidates in each list, not finite where a list has not got one;
    of equal scores the earlier candidate ranks better. A list without a weight counts 1, one of weight 0
    nothing.
    """
    weight = {name: max(weights.get(name, 1.0), 0.0) for name in lists}
    best = sum(weight.values()) / (k + 1.0)
    size = len(next(iter(lists.values()))) if lists else 0
    total = np.zeros(size, np.float64)
    for name, scores in lists.items():
        order = np.argsort(-np.where(np.isfinite(scores), scores, -np.inf), kind="stable")
        rank = np.empty(size, np.float64)
        rank[order] = np.arange(1, size + 1)
        total += np.where(np.isfinite(scores), weight[name] / (k + rank), 0.0)
    return (total / best if best > 0 else total).astype(np.float32)
