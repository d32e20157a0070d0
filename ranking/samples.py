"""Samples that a calibrator learns from, and the maps between log-odds and probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.masks import every

Doubles = NDArray[np.float64]

_LARGEST = np.nextafter(1.0, 0.0)
_SMALLEST = np.nextafter(0.0, 1.0)


def checked(
    logits: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any] | None
) -> tuple[Doubles, Doubles, Doubles]:
    """Logits, labels and weights as float64, without the samples of weight 0.

    Raises:
        ValueError: there is no sample of positive weight, or a value is not finite or out of range.
    """
    ones = np.ones(len(logits)) if weights is None else weights
    x, y, w = (np.asarray(each, np.float64) for each in (logits, labels, ones))
    if not len(x) == len(y) == len(w):
        raise ValueError(f"{len(x)} logits, {len(y)} labels and {len(w)} weights do not match")
    if not (np.isfinite(x).all() and np.isfinite(w).all() and ((y >= 0) & (y <= 1)).all() and (w >= 0).all()):
        raise ValueError("logits and weights must be finite, weights not negative, labels in 0..1")
    heavy = w > 0
    if not heavy.any():
        raise ValueError("there is no sample of positive weight to calibrate with")
    return x[heavy], y[heavy], w[heavy]


def sigmoid(log_odds: NDArray[Any]) -> Doubles:
    """Probabilities in the open interval (0, 1); NaN where the log-odds are not finite."""
    finite = np.isfinite(log_odds)
    x = (log_odds if every(finite) else np.where(finite, log_odds, np.nan)).astype(np.float64)
    small = np.exp(-np.abs(x))
    probability = np.where(x < 0, small, 1.0) / (1.0 + small)
    return np.clip(probability, _SMALLEST, _LARGEST)


def log_odds(probability: Doubles) -> Doubles:
    """The inverse of `sigmoid`."""
    odds: Doubles = np.log(probability) - np.log1p(-probability)
    return odds
