"""What stages cost as a function of their width, learned from the stages of this process."""

from __future__ import annotations

from collections.abc import Sequence

_MEMORY = 0.98
"""Weight of the past at each observation: about the last fifty count."""
_RIDGE = 0.01
_OUTLIER = 3.0
"""A stage that took more than so many times what was expected counts as that: a pause is not its cost."""
_SETTLED = 8.0

Widths = Sequence[tuple[str, int]]
"""Names of stages and how many candidates each has to score."""


class Line:
    """seconds = a + b * width, least squares over a fading past.

    Where widths hardly differ the slope is drawn to seconds / width, a cost that is all proportional: the
    first narrower request then shows how much is not (ridge; our choice). Neither a nor b is negative.
    """

    def __init__(self) -> None:
        self._n = self._x = self._y = self._xx = self._xy = 0.0
        self.fit = (0.0, 0.0)
        """(a, b); zeros before the first observation."""

    def observe(self, width: float, seconds: float) -> None:
        """The stage took `seconds` for `width` candidates."""
        if self._n >= _SETTLED:
            fixed, slope = self.fit
            seconds = min(seconds, _OUTLIER * (fixed + slope * width))
        self._n = _MEMORY * self._n + 1.0
        self._x = _MEMORY * self._x + width
        self._y = _MEMORY * self._y + seconds
        self._xx = _MEMORY * self._xx + width * width
        self._xy = _MEMORY * self._xy + width * seconds
        self.fit = self._fitted()

    def _fitted(self) -> tuple[float, float]:
        if self._x == 0.0:
            return 0.0, 0.0
        x, y = self._x / self._n, self._y / self._n
        variance, covariance = self._xx / self._n - x * x, self._xy / self._n - x * y
        ridge = _RIDGE * x * x
        slope = (covariance + ridge * (y / x)) / (max(variance, 0.0) + ridge)
        slope = min(max(slope, 0.0), y / x)
        return y - slope * x, slope


class Costs:
    """Scorers by cascade and name, and the rest of each cascade, whose cost does not depend on widths."""

    def __init__(self) -> None:
        self._scorers: dict[tuple[str, str], Line] = {}
        self._rest: dict[str, Line] = {}

    def observe(self, cascade: str, stage: str, width: int, seconds: float) -> None:
        """A scorer took `seconds`; `stage` as the observer of cascades names it."""
        line = self._scorers.get((cascade, stage))
        if line is None:
            line = self._scorers[cascade, stage] = Line()
        line.observe(width, seconds)

    def close(self, cascade: str, rest: float) -> None:
        """A query took so many seconds beside its scorers."""
        line = self._rest.get(cascade)
        if line is None:
            line = self._rest[cascade] = Line()
        line.observe(1.0, max(0.0, rest))

    def fit(self, cascade: str, widths: Widths) -> tuple[float, float]:
        """(seconds that do not depend on widths, seconds that all of `widths` take besides)."""
        rest = self._rest.get(cascade)
        fixed = 0.0 if rest is None else sum(rest.fit)
        scaled = 0.0
        for stage, width in widths:
            line = self._scorers.get((cascade, stage))
            if line is not None:
                a, b = line.fit
                fixed += a
                scaled += b * width
        return fixed, scaled

    def share(self, cascade: str, widths: Widths, left_s: float) -> float:
        """The largest share of `widths`, at most 1, that fits into `left_s` seconds; may be negative."""
        fixed, scaled = self.fit(cascade, widths)
        return 1.0 if fixed + scaled <= left_s or scaled <= 0.0 else (left_s - fixed) / scaled
