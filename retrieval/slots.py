"""Whole slots from shares: the largest-remainder method."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]


def largest_remainder(weights: NDArray[np.floating], slots: int) -> Rows:
    """Split `slots` in proportion to `weights` [M]; the parts [M] int32 sum to `slots` exactly.

    Each part is its exact share rounded down or up; the leftovers go to the largest remainders, ties to the
    lower position. Weights that are negative or not finite count 0; if none is positive, all count the same.
    """
    if len(weights) == 0 or slots <= 0:
        return np.zeros(len(weights), np.int32)
    if len(weights) == 1:
        return np.array([slots], np.int32)
    shares = np.where(np.isfinite(weights) & (weights > 0), weights, 0).astype(np.float64)
    largest = shares.max()
    shares = shares / largest if largest > 0 else np.ones(len(shares))
    exact = shares / shares.sum() * slots
    whole: Rows = np.floor(exact).astype(np.int32)
    left = slots - int(whole.sum())
    if left > 0:
        whole[np.argsort(whole - exact, kind="stable")[:left]] += 1
    return whole
