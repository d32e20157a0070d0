"""Whether a series stays flat: an equivalence test on its slope.

Our choice: the slope of Theil and Sen (the median of the slopes of all pairs of windows), for one odd window
moves it little, with Sen's 95% interval. What counts is the change over the whole judged time. The series is
flat when even the upper end of its interval is within what is allowed, it rises when the lower end is
beyond, and else the run was too short or too noisy to say: "unclear" is no pass. Windows of one process are
not independent, so the interval is narrower than it should be; what is allowed is wide beside it for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import theilslopes

LEVEL = 0.95
LEAST = 8
"""Windows below which nothing is said."""

Verdict = Literal["flat", "rises", "unclear"]


@dataclass(frozen=True, slots=True)
class Slope:
    """What became of a series in `hours`: its median, and the slope per hour with the interval's ends."""

    median: float
    hours: float
    per_hour: float
    low: float
    high: float
    allowed: float

    @property
    def verdict(self) -> Verdict:
        """Beside the change that is allowed over the judged time."""
        if self.high * self.hours <= self.allowed:
            return "flat"
        return "rises" if self.low * self.hours > self.allowed else "unclear"


def slope(hours: Sequence[float], values: Sequence[float], share: float, least: float) -> Slope:
    """Judge values at moments; they may rise by `share` of their median, or by `least` if that is more.

    Raises:
        ValueError: fewer than `LEAST` windows.
    """
    if len(values) < LEAST:
        raise ValueError(f"{len(values)} windows are too few for a slope: at least {LEAST}")
    middle = float(np.median(values))
    per_hour, _, low, high = theilslopes(values, hours, LEVEL)
    return Slope(
        median=middle,
        hours=hours[-1] - hours[0],
        per_hour=float(per_hour),
        low=float(low),
        high=float(high),
        allowed=max(share * abs(middle), least),
    )
