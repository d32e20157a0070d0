"""What happens after the answer: bounded, in the background, never on the caller's time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from service.background import Background
from service.features.store import StoreUnavailable
from service.features.streams import Impression
from service.logs import Outage
from service.metrics import Metrics

_log = logging.getLogger("cascada.effects")
_GATHER_S = 0.02
_BATCH = 64

Write = Callable[[Sequence[Impression]], Awaitable[None]]


class SideEffects:
    """Logs answers in batches. A full queue, or a store that does not answer, drops and counts them."""

    def __init__(self, write: Write, metrics: Metrics, size: int) -> None:
        self._write = write
        self._metrics = metrics
        self._queue: asyncio.Queue[Impression] = asyncio.Queue(size)
        self._background = Background("side-effects")
        self._outage = Outage(_log, "logging answers")

    def start(self) -> None:
        """Begin to work off the queue."""
        self._background.start(self._work())

    def submit(self, impression: Impression) -> None:
        """Leave an answer to be logged; returns at once."""
        try:
            self._queue.put_nowait(impression)
        except asyncio.QueueFull:
            self._metrics.side_effects.labels("dropped").inc()

    async def flush(self) -> None:
        """Wait until what was submitted before is written or dropped."""
        await self._queue.join()

    async def stop(self, timeout_s: float) -> None:
        """Write what is left, but wait no longer than this."""
        if self._background.running:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.flush(), timeout_s)
        await self._background.stop()

    async def _work(self) -> None:
        while True:
            batch = [await self._queue.get()]
            await asyncio.sleep(_GATHER_S)
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await self._store(batch)
            for _ in batch:
                self._queue.task_done()

    async def _store(self, batch: Sequence[Impression]) -> None:
        try:
            await self._write(batch)
            self._metrics.side_effects.labels("written").inc(len(batch))
            self._outage.ended()
        except StoreUnavailable as error:
            self._metrics.side_effects.labels("dropped").inc(len(batch))
            self._outage.began(error)
