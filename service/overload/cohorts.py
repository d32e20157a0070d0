"""Calls that wait are computed together: one stage of all of them before the next stage of any.

What a stage reads and runs is in the caches when the second call of a cohort comes to it; a call alone finds
little there, for the stage before it has just read megabytes. Each call's arithmetic stays its own, so that
an answer does not depend on who was answered beside it.

Answers are computed on the event loop. Between slices of a few milliseconds the loop looks at its sockets, so
that nobody is refused late or leaves unseen because others are many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, Generic, TypeVar

from service.cascade.steps import Steps

MOST = 16
"""So many are computed together at most (our choice: more gain little and make all of them wait)."""
SLICE_S = 0.003
"""So long the loop looks at no socket, and a stage longer."""
ALONE_S = 0.006
"""The same for a call that is computed alone: most end within it, and are not interrupted."""
_SMOOTHING = 0.1
_OUTLIER = 4.0

T = TypeVar("T")
Begin = Callable[[float, int], Steps[T]]
"""Called with the seconds that a call waited and the number of those that are computed with it."""


class _Member(Generic[T]):
    """A call that waits, or takes its steps."""

    __slots__ = ("_begin", "_context", "_steps", "asked", "future")

    _steps: Steps[T]
    """Once it has begun."""

    def __init__(self, begin: Begin[T], future: asyncio.Future[T], asked: float) -> None:
        self._begin = begin
        self._context: Context = copy_context()  # for the log lines of its stages
        self.future = future
        self.asked = asked

    def begin(self, now: float, size: int) -> bool:
        """Whether there is anything to compute: a call may turn out to be too late."""
        try:
            self._steps = self._context.run(self._begin, now - self.asked, size)
        except Exception as error:
            self.future.set_exception(error)
            return False
        return True

    def step(self) -> bool:
        """Whether there is more to compute."""
        if self.future.done():  # the client left
            self._steps.close()
            return False
        try:
            self._context.run(next, self._steps)
        except StopIteration as end:
            self.future.set_result(end.value)
            return False
        except Exception as error:
            self.future.set_exception(error)
            return False
        return True


class Cohorts:
    """First come, first served, up to `most` at a time; belongs to one event loop.

    `pace_s` is the usual time for one call, computed with as many others as there usually are.
    """

    def __init__(self, clock: Callable[[], float], most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self._waiting: deque[_Member[Any]] = deque()
        self._running: deque[_Member[Any]] = deque()
        self._awake = False
        self._size = 0
        self._started = 0.0
        self._waited_for = False
        self.pace_s = 0.0

    def __len__(self) -> int:
        """Calls that wait for the next cohort."""
        return len(self._waiting)

    async def compute(self, begin: Begin[T]) -> T:
        """What the steps return or raise that `begin` gives when this call's turn has come."""
        loop = asyncio.get_running_loop()
        member: _Member[T] = _Member(begin, loop.create_future(), self._clock())
        self._waiting.append(member)
        if not self._awake:
            self._awake = True
            loop.call_soon(self._work, loop)
        return await member.future

    def learn(self, seconds: float) -> None:
        """A call took this process so long."""
        if self.pace_s == 0.0:
            self.pace_s = seconds
            return
        self.pace_s += _SMOOTHING * (min(seconds, _OUTLIER * self.pace_s) - self.pace_s)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """One slice, and another one after the loop has looked at its sockets while there is work."""
        now = self._clock()
        if not self._running:
            self._gather(now)
        until, running = now + (SLICE_S if self._size > 1 else ALONE_S), self._running
        while running:
            member = running.popleft()
            if member.step():
                running.append(member)
            if self._clock() >= until:
                break
        if not running:
            self._waited_for = bool(self._waiting)
            if not self._waited_for:
                self._account(self._clock())
        if running or self._waiting:
            loop.call_soon(self._work, loop)
        else:
            self._awake = False

    def _gather(self, now: float) -> None:
        """The next cohort: who has waited longest, without those who have left."""
        if self._waited_for:
            self._account(now)
        there: list[_Member[Any]] = []
        while self._waiting and len(there) < self._most:
            member = self._waiting.popleft()
            if not member.future.done():
                there.append(member)
        self._size, self._started = len(there), now
        self._running.extend(member for member in there if member.begin(now, len(there)))

    def _account(self, now: float) -> None:
        if self._size:
            self.learn((now - self._started) / self._size)
        self._size = 0
