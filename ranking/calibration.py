"""Calibration: from the ranker's logits to probabilities that mean what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ranking.isotonic import Isotonic
from ranking.platt import Platt

Doubles = NDArray[np.float64]


class Calibrator(Protocol):
    """A monotone map, so that it never changes an order (contract suite: `tests/contracts/calibrator.py`)."""

    kind: ClassVar[str]
    """Its name in `calibrators` and in its JSON."""

    @classmethod
    def fit(cls, logits: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any] | None = None) -> Self:
        """Learn from n logits, labels in 0..1 and weights (default: all 1).

        Raises:
            ValueError: there is no sample of positive weight, or a value is not finite.
        """

    def __call__(self, logits: NDArray[Any]) -> Doubles:
        """Probabilities in the open interval (0, 1), strictly rising with the logit; NaN if it is not finite.

        They are float64, so that logits that differ stay apart.
        """

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, `kind` included."""

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            ValueError: a value is missing or makes no calibrator.
        """


calibrators: Mapping[str, type[Calibrator]] = {each.kind: each for each in (Isotonic, Platt)}
"""Every kind by its name."""


def calibrator_from_json(raw: Mapping[str, Any]) -> Calibrator:
    """The calibrator that `to_json` wrote.

    Raises:
        ValueError: the kind is unknown, or a value is missing or wrong.
    """
    chosen = calibrators.get(str(raw.get("kind")))
    if chosen is None:
        raise ValueError(f"unknown calibrator {raw.get('kind')!r}; known are {sorted(calibrators)}")
    return chosen.from_json(raw)
