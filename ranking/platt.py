"""Platt scaling: one slope and one intercept on the logit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ranking.logistic import fit_logistic, softened
from ranking.samples import checked, sigmoid

Doubles = NDArray[np.float64]

_LEAST_SLOPE = 1e-3
"""Per standard deviation of the logits."""


@dataclass(frozen=True, slots=True)
class Platt:
    """p = sigmoid(slope * logit + intercept) with a positive slope."""

    slope: float
    intercept: float
    kind: ClassVar[str] = "platt"

    @classmethod
    def fit(cls, logits: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any] | None = None) -> Self:
        """Least log loss by Newton steps, with Platt's softened labels: separable samples stay finite.

        Where the labels fall as the logits rise, the slope is held at its least value and the order is kept.
        """
        x, y, w = checked(logits, labels, weights)
        target = softened(y, w)
        centre = float(np.average(x, weights=w))
        spread = float(np.sqrt(np.average((x - centre) ** 2, weights=w))) or 1.0
        z = (x - centre) / spread
        slope, intercept = fit_logistic(np.stack([z, np.ones_like(z)]), target, w)
        if slope < _LEAST_SLOPE:
            slope = _LEAST_SLOPE
            (intercept,) = fit_logistic(np.ones((1, len(z))), target, w, offset=slope * z)
        return cls(float(slope / spread), float(intercept - slope * centre / spread))

    def __call__(self, logits: NDArray[Any]) -> Doubles:
        """Probabilities [n]."""
        return sigmoid(self.slope * np.asarray(logits, np.float64) + self.intercept)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"kind": self.kind, "slope": self.slope, "intercept": self.intercept}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        try:
            slope, intercept = float(raw["slope"]), float(raw["intercept"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"platt: {error!r}") from error
        if not (0 < slope < np.inf and np.isfinite(intercept)):
            raise ValueError(f"platt: slope {slope} and intercept {intercept} make no rising curve")
        return cls(slope, intercept)
