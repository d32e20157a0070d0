"""The quality factor: how much of the plan's widths is ranked, so that tail latency meets a goal."""

from __future__ import annotations


class Quality:
    """One number between `least` and 1 that falls fast and rises slowly.

    After each answer: in time -> q += d, late -> q -= d * p / (100 - p). At rest the p-th percentile of
    latency sits on the goal. q may rise to `headroom` above 1, where nothing is gained, so that single late
    answers, of which there are always some, narrow nothing (our choice).
    """

    def __init__(
        self, least: float, percentile: float = 99.0, step: float = 0.002, headroom: float = 0.4
    ) -> None:
        self._least = least
        self._most = 1.0 + headroom
        self._up = step
        self._down = step * percentile / (100.0 - percentile)
        self._value = self._most

    @property
    def factor(self) -> float:
        """Share of the widths, in [least, 1]."""
        return min(1.0, self._value)

    def observe(self, in_time: bool) -> None:
        """An answer was given in time, or late."""
        value = self._value + self._up if in_time else self._value - self._down
        self._value = min(self._most, max(self._least, value))
