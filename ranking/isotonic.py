"""Isotonic calibration: the best rising steps, joined to a strictly rising curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ranking.samples import checked, log_odds, sigmoid

Doubles = NDArray[np.float64]

_LEAST_SLOPE = 0.01
_LARGEST_SLOPE = 1.0
_ROUNDING = 1e-9
"""Means that differ by less are equal: a rise that rounding made would be a flat step."""


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A curve through `logits` [K], rising, and their calibrated `odds` [K] (log-odds), strictly rising.

    Between two points it is straight in log-odds; beyond the ends it goes on with the mean slope of the whole
    curve, so that no two logits are ever made equal (our choice; steps would tie whole blocks).
    """

    logits: Doubles
    odds: Doubles
    kind: ClassVar[str] = "isotonic"

    @classmethod
    def fit(cls, logits: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any] | None = None) -> Self:
        """Pool adjacent violators; a block stands at its mean logit with its mean label.

        A first block without and a last block with nothing but positives are drawn in by half a sample.
        """
        x, y, w = checked(logits, labels, weights)
        centres, values, masses = _pool(*_merge_ties(x, y, w))
        return cls(centres, log_odds(_inside(values, masses)))

    def __call__(self, logits: NDArray[Any]) -> Doubles:
        """Probabilities [n]."""
        x = np.asarray(logits, np.float64)
        slope = self._outer_slope()
        outside = np.minimum(x - self.logits[0], 0.0) + np.maximum(x - self.logits[-1], 0.0)
        return sigmoid(np.interp(x, self.logits, self.odds) + slope * outside)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"kind": self.kind, "logits": self.logits.tolist(), "odds": self.odds.tolist()}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        try:
            x, odds = np.array(raw["logits"], np.float64), np.array(raw["odds"], np.float64)
        except (KeyError, TypeError) as error:
            raise ValueError(f"isotonic: {error!r}") from error
        rising = (
            x.ndim == 1
            and x.shape == odds.shape
            and bool((np.diff(x) > 0).all() and (np.diff(odds) > 0).all())
        )
        if not (rising and len(x) and np.isfinite(x).all() and np.isfinite(odds).all()):
            raise ValueError("isotonic: logits and odds are no rising curve")
        return cls(x, odds)

    def _outer_slope(self) -> float:
        width = self.logits[-1] - self.logits[0]
        slope = (self.odds[-1] - self.odds[0]) / width if width > 0 else 0.0
        return float(np.clip(slope, _LEAST_SLOPE, _LARGEST_SLOPE))


def _merge_ties(x: Doubles, y: Doubles, w: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Ascending distinct logits with the mean label and the weight of each."""
    distinct, place = np.unique(x, return_inverse=True)
    mass = np.bincount(place, weights=w).astype(np.float64)
    return distinct, np.bincount(place, weights=w * y) / mass, mass


def _pool(x: Doubles, y: Doubles, w: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Mean logit, mean label and weight of the blocks of the weighted isotonic fit; labels strictly rise."""
    blocks: list[tuple[float, float, float]] = []
    for centre, value, mass in zip(x.tolist(), y.tolist(), w.tolist(), strict=True):
        block = (centre, value, mass)
        while blocks and blocks[-1][1] >= block[1] * (1 - _ROUNDING):
            block = _join(blocks.pop(), block)
        blocks.append(block)
    centres, values, masses = np.array(blocks).T
    return centres, values, masses


def _join(left: tuple[float, float, float], right: tuple[float, float, float]) -> tuple[float, float, float]:
    mass = left[2] + right[2]
    share = right[2] / mass
    return left[0] + share * (right[0] - left[0]), left[1] + share * (right[1] - left[1]), mass


def _inside(values: Doubles, masses: Doubles) -> Doubles:
    """Move an end value of 0 or 1 inside by half a sample, and not past half the way to its neighbour."""
    inside = values.copy()
    if inside[0] <= 0:
        inside[0] = min([0.5 / (masses[0] + 1), *(inside[1:2] / 2)])
    if inside[-1] >= 1:
        inside[-1] = 1 - min([0.5 / (masses[-1] + 1), *((1 - inside[-2:-1]) / 2)])
    return inside
