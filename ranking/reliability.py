"""How honest probabilities are: predicted against observed clicks, with intervals.

COPC is predicted over observed clicks. Its interval takes the observed clicks as Poisson, by Byar's
approximation of the exact limits (Breslow and Day 1987), which needs no tables and is within two percent of
them from twenty clicks on. A share of clicks has Wilson's interval (1927). Both are our choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

Z95 = 1.959964
"""Half width of a 95% interval in standard errors."""
Z999 = 3.290527
"""Of a 99.9% interval: for figures that are looked at again and again."""


@dataclass(frozen=True, slots=True)
class Copc:
    """Predicted over observed clicks with its interval; NaN and infinite where nobody clicked."""

    predicted: float
    clicks: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """Predicted over observed: above 1 = it promises too much."""
        return self.predicted / self.clicks if self.clicks else math.nan

    def beyond(self, tolerance: float) -> bool:
        """Whether the whole interval lies more than `tolerance` away from 1."""
        return self.high < 1 - tolerance or self.low > 1 + tolerance


@dataclass(frozen=True, slots=True)
class Bin:
    """Equally many samples of similar prediction: means, and Wilson's interval of what was observed."""

    samples: int
    predicted: float
    observed: float
    low: float
    high: float


def copc_interval(predicted: float, clicks: float, z: float = Z95) -> Copc:
    """COPC of a sum of probabilities and a number of clicks."""
    low, high = poisson_interval(clicks, z)
    return Copc(float(predicted), float(clicks), predicted / high, predicted / low if low else math.inf)


def poisson_interval(count: float, z: float = Z95) -> tuple[float, float]:
    """Limits of the mean of a Poisson count."""
    low = 0.0
    if count > 0:
        low = count * max(0.0, 1 - 1 / (9 * count) - z / (3 * math.sqrt(count))) ** 3
    above = count + 1
    return low, above * (1 - 1 / (9 * above) + z / (3 * math.sqrt(above))) ** 3


def wilson_interval(hits: float, samples: float, z: float = Z95) -> tuple[float, float]:
    """Limits of a share; (0, 1) of no samples."""
    if samples <= 0:
        return 0.0, 1.0
    share, weight = hits / samples, z * z / samples
    centre = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / samples + weight / (4 * samples)) / (1 + weight)
    return max(0.0, centre - half), min(1.0, centre + half)


def reliability(labels: NDArray[Any], probabilities: NDArray[Any], bins: int = 20) -> Sequence[Bin]:
    """The curve of a reliability plot: bins of equal mass, the least predictions first."""
    order = np.argsort(probabilities, kind="stable")
    found = []
    for part in np.array_split(order, min(bins, max(len(order), 1))):
        if len(part):
            hits = float(np.sum(labels[part], dtype=np.float64))
            low, high = wilson_interval(hits, len(part))
            predicted = float(np.mean(probabilities[part], dtype=np.float64))
            found.append(Bin(len(part), predicted, hits / len(part), low, high))
    return found


def losses(labels: NDArray[Any], probabilities: NDArray[Any]) -> Doubles:
    """Log loss of each sample; probabilities are kept 1e-7 away from 0 and 1."""
    p = np.clip(np.asarray(probabilities, np.float64), 1e-7, 1 - 1e-7)
    y = np.asarray(labels, np.float64)
    found: Doubles = -(y * np.log(p) + (1 - y) * np.log1p(-p))
    return found


def calibration_error(labels: NDArray[Any], probabilities: NDArray[Any], bins: int = 20) -> float:
    """ECE: mean |predicted - observed| over bins of equal mass."""
    found = reliability(labels, probabilities, bins)
    total = sum(one.samples for one in found)
    return sum(one.samples * abs(one.predicted - one.observed) for one in found) / max(total, 1)
