"""Whose turn it is to compute: one answer at a time, and between two answers whatever else waits.

Answers are computed on the event loop. Were all that are ready computed in one go, nobody could be refused
meanwhile; so after each the loop looks at its sockets once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

_SMOOTHING = 0.1
_OUTLIER = 4.0


class Queue:
    """First come, first served. `pace_s` is the usual time from one turn to the next while somebody waits."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._busy = False
        self._started = 0.0
        self._waited_for = False
        self.pace_s = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    async def turn(self) -> float:
        """Wait for one's turn, which lasts to the next `await`; the seconds waited."""
        loop = asyncio.get_running_loop()
        waited = 0.0
        if self._busy:
            asked, turn = self._clock(), loop.create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # our turn came as we left: it is the next one's
                    self._pass_on()
                raise
            waited = self._clock() - asked
        self._begin()
        self._busy = True
        loop.call_soon(self._next)
        return waited

    def _begin(self) -> None:
        now = self._clock()
        if self._waited_for:
            self.learn(now - self._started)
        self._started = now

    def learn(self, seconds: float) -> None:
        """An answer took this process so long."""
        if self.pace_s == 0.0:
            self.pace_s = seconds
            return
        self.pace_s += _SMOOTHING * (min(seconds, _OUTLIER * self.pace_s) - self.pace_s)

    def _next(self) -> None:
        if not self._waiting:
            self.learn(self._clock() - self._started)
        self._waited_for = bool(self._waiting)
        self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._busy = False
