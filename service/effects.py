"""What happens after the answer: bounded, in the background, never on the caller's time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from prometheus_client import Counter

from service.background import Background
from service.features.store import StoreUnavailable
from service.logs import Outage

_log = logging.getLogger("cascada.effects")
_GATHER_S = 0.1
"""So long answers are gathered, for a batch costs the process about as much as one of them."""
_BATCH = 64

T = TypeVar("T")


class SideEffects(Generic[T]):
    """Stores what answers leave, in batches. A full queue, or a store that does not answer, drops it.

    `counter` counts both by the label `result`: "written" (`write` may say how many, None = all) and
    "dropped". `what` names them in the log.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T]], Awaitable[int | None]],
        counter: Counter,
        size: int,
        what: str = "logging answers",
        at_once: int = _BATCH,
    ) -> None:
        self._write = write
        self._counter = counter
        self._queue: asyncio.Queue[T] = asyncio.Queue(size)
        self._at_once = at_once
        self._background = Background(what)
        self._outage = Outage(_log, what)

    def start(self) -> None:
        """Begin to work off the queue."""
        self._background.start(self._work())

    def submit(self, one: T) -> None:
        """Leave something to be stored; returns at once."""
        try:
            self._queue.put_nowait(one)
        except asyncio.QueueFull:
            self._counter.labels("dropped").inc()

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
            if self._queue.qsize() < self._at_once - 1:
                await asyncio.sleep(_GATHER_S)
            while len(batch) < self._at_once and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await self._store(batch)
            for _ in batch:
                self._queue.task_done()

    async def _store(self, batch: Sequence[T]) -> None:
        try:
            written = await self._write(batch)
            self._counter.labels("written").inc(len(batch) if written is None else written)
            self._outage.ended()
        except StoreUnavailable as error:
            self._counter.labels("dropped").inc(len(batch))
            self._outage.began(error)
