"""Temperature scaling: logits are divided by one number (Guo et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ranking.logistic import fit_logistic, softened
from ranking.samples import checked, sigmoid

Doubles = NDArray[np.float64]

_GREATEST = 1e3
"""Per root mean square of the logits: where labels fall as they rise, the order is kept all the same."""


@dataclass(frozen=True, slots=True)
class Temperature:
    """p = sigmoid(logit / temperature): right where a model is too sure or not sure enough, and not shifted.

    A logit of 0 stays one half. Of all kinds it needs the fewest samples.
    """

    temperature: float
    kind: ClassVar[str] = "temperature"

    @classmethod
    def fit(cls, logits: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any] | None = None) -> Self:
        """Least log loss, with Platt's softened labels."""
        x, y, w = checked(logits, labels, weights)
        spread = float(np.sqrt(np.average(x**2, weights=w))) or 1.0
        (slope,) = fit_logistic((x / spread)[None], softened(y, w), w)
        return cls(spread / max(float(slope), 1 / _GREATEST))

    def __call__(self, logits: NDArray[Any]) -> Doubles:
        """Probabilities [n]."""
        return sigmoid(np.asarray(logits, np.float64) / self.temperature)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"kind": self.kind, "temperature": self.temperature}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        try:
            temperature = float(raw["temperature"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"temperature: {error!r}") from error
        if not 0 < temperature < np.inf:
            raise ValueError(f"temperature: {temperature} makes no rising curve")
        return cls(temperature)
