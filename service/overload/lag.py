"""How late the event loop is: a call that is read after a stall has waited unseen since the stall began."""

from __future__ import annotations

import asyncio
import time

from service.background import Background

_BEAT_S = 0.05
_STALL_S = 0.02
_FRESH_S = 0.02
"""A call that is read so soon after a stall waited for its end; accepting it and reading it takes a few turns
of the loop."""


class Lag:
    """A heartbeat. Timers run before sockets are read, so a stall is known when its callers are seen."""

    def __init__(self) -> None:
        self._late_s = 0.0
        self._seen = 0.0
        self._background = Background("heartbeat")

    def start(self) -> None:
        """Begin to beat."""
        self._background.start(self._beat())

    async def stop(self) -> None:
        """Beat no longer."""
        await self._background.stop()

    def stalled(self, now: float) -> bool:
        """Whether the loop has only just come back from a stall."""
        return self._late_s > _STALL_S and now - self._seen < _FRESH_S

    def arrived(self, now: float) -> float:
        """When a call that is read at `now` arrived, at the earliest; moments on `time.monotonic()`."""
        return now - self._late_s if self.stalled(now) else now

    async def _beat(self) -> None:
        while True:
            due = time.monotonic() + _BEAT_S
            await asyncio.sleep(_BEAT_S)
            self._seen = time.monotonic()
            self._late_s = max(0.0, self._seen - due)
