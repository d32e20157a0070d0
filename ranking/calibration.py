"""Calibration: from the ranker's logits to probabilities that mean what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ranking.beta import Beta
from ranking.isotonic import Isotonic
from ranking.platt import Platt
from ranking.temperature import Temperature

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


calibrators: Mapping[str, type[Calibrator]] = {
    each.kind: each for each in (Beta, Isotonic, Platt, Temperature)
}
"""Every kind by its name."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a bundle calibrates with: a common calibrator, and those of placements that have their own.

    It is a calibrator, too: the common one. `previous` is the one before, where a newer one took its place.
    """

    common: Calibrator
    placements: Mapping[str, Calibrator] = field(default_factory=dict)
    previous: Calibration | None = None

    @property
    def kind(self) -> str:
        """The common one's."""
        return self.common.kind

    def __call__(self, logits: NDArray[Any]) -> Doubles:
        """Probabilities by the common calibrator."""
        return self.common(logits)

    def at(self, placement: str) -> Calibrator:
        """The calibrator of a placement."""
        return self.placements.get(placement, self.common)

    def to_json(self) -> dict[str, Any]:
        """The common one's JSON; `placements` and `previous` where there are any."""
        found = self.common.to_json()
        if self.placements:
            found["placements"] = {name: one.to_json() for name, one in self.placements.items()}
        if self.previous is not None:
            found["previous"] = self.previous.to_json()
        return found

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Calibration:
        """The inverse of `to_json`; reads a single calibrator as well.

        Raises:
            ValueError: as `calibrator_from_json`; names the placement.
        """
        common, own = calibrator_from_json(raw), {}
        for name, each in raw.get("placements", {}).items():
            try:
                own[str(name)] = calibrator_from_json(each)
            except (AttributeError, TypeError, ValueError) as error:
                raise ValueError(f"placements.{name}: {error}") from error
        try:
            previous = cls.from_json(raw["previous"]) if "previous" in raw else None
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"previous: {error}") from error
        return cls(common, own, previous)


def calibrator_from_json(raw: Mapping[str, Any]) -> Calibrator:
    """The calibrator that `to_json` wrote.

    Raises:
        ValueError: the kind is unknown, or a value is missing or wrong.
    """
    chosen = calibrators.get(str(raw.get("kind")))
    if chosen is None:
        raise ValueError(f"unknown calibrator {raw.get('kind')!r}; known are {sorted(calibrators)}")
    return chosen.from_json(raw)
