"""What waiting alone does to tails: a server that takes equally long for every call, and calls in bunches."""

from __future__ import annotations

import numpy as np

_ARRIVALS = 1_000_000


def ideal_tail(share: float, seed: int = 0) -> float:
    """p99 over p50 of the time in an M/D/1 queue at so much of its saturation, drawn by Lindley's recursion.

    One worker that computes one answer at a time can hardly have less, however quick it is: arrivals of a
    Poisson process come in bunches.
    """
    steps = 1.0 - np.random.default_rng(seed).exponential(1.0 / share, _ARRIVALS)
    total = np.cumsum(steps)
    waited = total - np.minimum.accumulate(np.minimum(total, 0.0))
    middle, tail = np.percentile(waited + 1.0, [50, 99])
    return float(tail / middle)
