"""Logistic regression on a few columns: what the parametric calibrators are fitted by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ranking.samples import sigmoid

Doubles = NDArray[np.float64]

_STEPS = 100
_PRECISION = 1e-10
_LEAST_RIDGE = 1e-9
"""Keeps the curvature from being singular where a column says nothing."""


def softened(labels: Doubles, weights: Doubles) -> Doubles:
    """Platt's targets: labels drawn in by a sample of the other kind: separable ones stay finite."""
    positive, negative = float(weights @ labels), float(weights @ (1 - labels))
    low, high = 1 / (negative + 2), (positive + 1) / (positive + 2)
    return low + labels * (high - low)


def fit_logistic(
    columns: Doubles,
    target: Doubles,
    weights: Doubles,
    offset: Doubles | float = 0.0,
    ridge: Doubles | float = 0.0,
) -> Doubles:
    """Coefficients [c] of least log loss over `columns` [c, n], by Newton steps; one that does not lower it
    is halved.

    `offset` [n] is added to the log-odds; `ridge` [c] costs ridge * coefficient^2 / 2.
    """
    theta = np.zeros(len(columns))
    cost = np.broadcast_to(np.asarray(ridge, np.float64), theta.shape)

    def loss(at: Doubles) -> float:
        return log_loss_of(at @ columns + offset, target, weights) + 0.5 * float(cost @ at**2)

    before = loss(theta)
    for _ in range(_STEPS):
        p = sigmoid(theta @ columns + offset)
        gradient = columns @ (weights * (p - target)) + cost * theta
        curvature = (columns * (weights * p * (1 - p))) @ columns.T + np.diag(cost + _LEAST_RIDGE)
        step = np.linalg.solve(curvature, gradient)
        for _ in range(30):
            after = loss(theta - step)
            if after <= before:
                break
            step /= 2
        theta, before = theta - step, after
        if np.abs(step).max() < _PRECISION:
            break
    return theta


def log_loss_of(log_odds: Doubles, target: Doubles, weights: Doubles) -> float:
    """The summed log loss of log-odds [n]."""
    return float(weights @ (np.logaddexp(0, log_odds) - target * log_odds))
