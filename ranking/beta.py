"""Beta calibration: two slopes, one for each side of the logits (Kull, Silva Filho and Flach 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ranking.logistic import fit_logistic, log_loss_of, softened
from ranking.samples import checked, sigmoid

Doubles = NDArray[np.float64]

_LEAST = 1e-3
"""Of both slopes."""
_RIDGE = 1e-3
"""Draws the two slopes towards each other where the samples lie on one side and say nothing of the other."""


@dataclass(frozen=True, slots=True)
class Beta:
    """log-odds = below * ln p - above * ln(1 - p) + intercept, with p = sigmoid(logit) and positive slopes.

    `below` is the slope far below 0, `above` far above it; equal ones are Platt's.
    """

    below: float
    above: float
    intercept: float
    kind: ClassVar[str] = "beta"

    @classmethod
    def fit(cls, logits: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any] | None = None) -> Self:
        """Least log loss with Platt's softened labels, among the curves that rise on both sides.

        The problem is convex: where its least lies outside, it is the least on the border.
        """
        x, y, w = checked(logits, labels, weights)
        target, sides = softened(y, w), _sides(x)
        tried = []
        for held in ((), (0,), (1,), (0, 1)):
            theta = _with_held(sides, target, w, held)
            if min(theta[:2]) >= _LEAST * (1 - 1e-9):
                loss = log_loss_of(theta[:2] @ sides + theta[2], target, w)
                if not held:
                    return cls(*map(float, theta))
                tried.append((loss, theta))
        _, best = min(tried, key=lambda one: one[0])
        return cls(*map(float, best))

    def __call__(self, logits: NDArray[Any]) -> Doubles:
        """Probabilities [n]."""
        x = np.asarray(logits, np.float64)
        finite = np.isfinite(x)
        low, high = _sides(np.where(finite, x, 0.0))
        return sigmoid(np.where(finite, self.below * low + self.above * high + self.intercept, np.nan))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"kind": self.kind, "below": self.below, "above": self.above, "intercept": self.intercept}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        try:
            below, above, intercept = (float(raw[name]) for name in ("below", "above", "intercept"))
        except (KeyError, TypeError) as error:
            raise ValueError(f"beta: {error!r}") from error
        if not (0 < below < np.inf and 0 < above < np.inf and np.isfinite(intercept)):
            raise ValueError(f"beta: slopes {below}, {above} and intercept {intercept} make no rising curve")
        return cls(below, above, intercept)


def _sides(x: Doubles) -> Doubles:
    """[2, n]: ln p and -ln(1 - p), whose sum is the logit."""
    return np.stack([-np.logaddexp(0, -x), np.logaddexp(0, x)])


def _with_held(sides: Doubles, target: Doubles, weights: Doubles, held: tuple[int, ...]) -> Doubles:
    """Slopes below and above and the intercept of least loss, those in `held` at their least."""
    one = np.ones(sides.shape[1])
    if not held:
        # In the mean slope and the difference, so that the ridge costs nothing but asymmetry.
        columns = np.stack([sides[0] + sides[1], sides[1] - sides[0], one])
        mean, half, intercept = fit_logistic(columns, target, weights, ridge=np.array([0.0, _RIDGE, 0.0]))
        return np.array([mean - half, mean + half, intercept])
    free = [side for side in (0, 1) if side not in held]
    offset = _LEAST * sides[list(held)].sum(axis=0)
    found = fit_logistic(np.stack([*sides[free], one]), target, weights, offset=offset)
    theta = np.full(3, _LEAST)
    theta[[*free, 2]] = found
    return theta
