"""What a ranked list gives each request, and by how much two lists differ by chance alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.training.funnel import Pool

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def gains(scores: Sequence[Floats], pools: Sequence[Pool], k: int = 10) -> Doubles:
    """NDCG@k of each request [R]; 0 where the funnel lost the target, or it is not among those scored."""
    found = np.zeros(len(pools))
    for r, (values, pool) in enumerate(zip(scores, pools, strict=True)):
        if 0 <= pool.place < len(values):
            place = int((values > values[pool.place]).sum())
            found[r] = 1 / np.log2(place + 2) if place < k else 0.0
    return found


def funnel_ndcg(scores: Sequence[Floats], pools: Sequence[Pool], k: int = 10) -> float:
    """Mean NDCG@k of the ranked candidates; a target that the funnel lost counts 0. 0 without requests."""
    return float(gains(scores, pools, k).sum()) / max(len(pools), 1)


def standard_error(differences: Doubles, users: NDArray[np.integer]) -> float:
    """Of the mean of `differences` [R] between two lists of the same requests, whose `users` [R] may repeat.

    What requests of one user have in common is no chance of its own, so users are what is counted (the
    cluster-robust variance; Liang and Zeger 1986). 0 without requests.
    """
    if not len(differences):
        return 0.0
    _, user = np.unique(users, return_inverse=True)
    totals = np.bincount(user, differences - differences.mean())
    return float(np.sqrt((totals**2).sum())) / len(differences)
