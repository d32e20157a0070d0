"""One process's answer to too many calls: narrower answers first, then refusals at the door.

Calls for lists are computed in the order in which they come, so how long a newcomer would wait is known: as
many turns as there are calls before it. It is refused at once if that is more than the goal for latency; a
burst that can be worked off within `_BURST_S` may take longer. How wide an answer is ranked follows the
quality factor, and what is left of the call's own deadline.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from service.cascade.hydrate import Moment
from service.cascade.query import Fate, Query
from service.cascade.round import Round
from service.cascade.steps import Steps
from service.errors import Shed
from service.metrics import Metrics
from service.overload.cohorts import Cohorts
from service.overload.costs import Costs
from service.overload.lag import Lag
from service.overload.quality import Quality
from service.overload.widths import narrowed, widths_of

T = TypeVar("T")

LISTS = ("/v1/recommend", "/v1/search", "/v1/similar")
"""Paths whose calls are computed, and wait for a turn."""
_TURNS = 6.0
"""The goal for latency where none is set, in usual turns: at 60% of what can be done the 99th percentile of
a queue with one server and equal turns is at 5.5 (M/D/1)."""
_LEAST_S = 0.010
_BURST_S = 0.1
_REFILL = 3.0
"""The allowance for a burst comes back so many times as fast as a line uses it up: a worker that is idle for
a quarter of the time always has it, one that has too much to do hardly ever (our choice)."""
_LEAST_INSIDE = 2
"""So many are let in, however slow they are: one computes while the next is read."""
_SETTLING = 0.05


class Pressure:
    """Counts calls for lists from the door to the last byte; belongs to one event loop."""

    def __init__(
        self,
        metrics: Metrics,
        target_ms: float | None,
        least_quality: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._target_s = None if target_ms is None else target_ms / 1000
        self._clock = clock
        self._least_quality = least_quality
        self._full_s = 0.0
        self._allowance_s = _BURST_S
        self._since = clock()
        self._short = True
        self._coming = 0
        self._inside = 0
        self.costs = Costs()
        self.lag = Lag()
        self.cohorts = Cohorts(clock)
        self.quality = Quality(least_quality)
        metrics.costs = self.costs
        metrics.quality.set_function(lambda: self.quality.factor)

    @property
    def target_s(self) -> float:
        """The goal for the 99th percentile of latency: the operator's, else by what an answer takes here."""
        return max(_LEAST_S, _TURNS * self._full_s) if self._target_s is None else self._target_s

    @property
    def expected_s(self) -> float:
        """How long a newcomer would have to wait for its answer."""
        return (self._inside + self._coming + 1) * self.cohorts.pace_s

    @property
    def full(self) -> bool:
        """Whether a newcomer is refused."""
        self._count()
        return not self._short and self.expected_s > self.target_s + self._allowance_s

    @property
    def retry_after_s(self) -> float:
        """When it is worth asking again."""
        return max(1.0, self.expected_s)

    def _count(self, inside: int = 0, coming: int = 0) -> None:
        """So many more are inside or on their way in; what is left of the allowance for a burst.

        It comes back while the line is gone, not while it is just short enough: else the line would always be
        as long as a burst may make it. It does not come back at once, for a cohort leaves no line behind.
        """
        now = self._clock()
        passed, self._since = now - self._since, now
        if self._short:
            self._allowance_s = min(_BURST_S, self._allowance_s + _REFILL * passed)
        else:
            self._allowance_s = max(0.0, self._allowance_s - passed)
        self._inside += inside
        self._coming += coming
        self._short = self._inside + self._coming < _LEAST_INSIDE

    def announce(self) -> None:
        """A call was let in whose way through the framework has only begun."""
        self._count(coming=1)

    def enter(self, announced: bool) -> None:
        """A call for a list is at the door.

        Raises:
            Shed: it would wait for too long; never if it was announced.
        """
        if not announced and self.full:
            raise Shed(self.reason, self.retry_after_s)
        self._count(inside=1, coming=-1 if announced else 0)

    @property
    def reason(self) -> str:
        """Why calls are refused."""
        return f"{self._inside + self._coming} calls are before this one; try again in a moment"

    def leave(self, seconds: float, answered: bool) -> None:
        """A call that entered has its answer; `seconds` count from its arrival."""
        self._count(inside=-1)
        if answered:
            self.quality.observe(seconds <= self.target_s)

    async def compute(self, moment: Moment, begin: Callable[[int], Steps[T]]) -> T:
        """What the steps come to that `begin` gives when it is this call's turn, with how many share it.

        Raises:
            Shed: its deadline passed while it waited, so nobody is there for the answer.
            Exception: what the steps raise.
        """

        def begun(waited: float, size: int) -> Steps[T]:
            self._admit(moment, waited)
            return begin(size)

        return await self.cohorts.compute(begun)

    def _admit(self, moment: Moment, waited: float) -> None:
        self._metrics.turn_seconds.observe(waited)
        now = self._clock()
        unseen = waited > 0.0 or self.lag.stalled(now)
        if unseen and moment.deadline is not None and now > moment.deadline:
            self._metrics.shed.inc()
            raise Shed("the call's deadline passed while it waited for its turn", self.retry_after_s)

    def fitted(self, query: Query, rounds: Sequence[Round], size: int) -> float:
        """The share of the widths for this query: the quality factor, or less if its deadline is near.

        The time that is left is shared by the `size` queries that are computed together.
        """
        share = self.quality.factor
        if query.deadline is not None:
            left_s = (query.deadline - self._clock()) / size
            share = min(share, self.costs.share(query.kind, widths_of(rounds), left_s))
        return max(self._least_quality, share)

    def answered(self, query: Query, rounds: Sequence[Round], fates: Sequence[Fate]) -> tuple[str, ...]:
        """Labels of what was cut; learns what a turn with a full answer takes."""
        if query.quality >= 1.0:
            step = _SETTLING if self._full_s else 1.0
            self._full_s += step * (self.cohorts.pace_s - self._full_s)
            return ()
        labels = narrowed(rounds, query, fates)
        for label in labels:
            self._metrics.degraded.labels(query.kind, label).inc()
        return labels


def with_quality(query: Query, quality: float) -> Query:
    """The same query, its widths scaled."""
    return query if quality == query.quality else replace(query, quality=quality)
