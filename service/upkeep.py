"""Keeps the snapshot in use in order: opens and closes windows on time, and settles and compacts changes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from service.background import Background
from service.bundle import Bundle
from service.catalogue import Catalogue
from service.recommender import Recommender

_log = logging.getLogger("cascada.upkeep")
_SHORTEST_S = 0.001


class Upkeep:
    """Works beside the answers; `lock` is held by whoever makes the next snapshot."""

    def __init__(
        self,
        recommender: Recommender,
        lock: asyncio.Lock,
        interval_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._recommender = recommender
        self._lock = lock
        self._interval_s = interval_s
        self._clock = clock
        self._keeping_time = Background("schedule")
        self._tidying = Background("compaction")

    def start(self) -> None:
        """Begin."""
        self._keeping_time.start(self._every(self.keep_time, self._until_next))
        self._tidying.start(self._every(self.tidy, lambda: self._interval_s))

    async def stop(self) -> None:
        """Leave the snapshot as it is."""
        await self._keeping_time.stop()
        await self._tidying.stop()

    async def keep_time(self) -> None:
        """Show what has become available and hide what has expired; needs no store."""
        async with self._lock:
            engine = self._recommender.engine
            catalogue = engine.catalogue.at(self._now_ms())
            if catalogue is not engine.catalogue:
                await asyncio.to_thread(catalogue.warm)
                self._recommender.use(engine.over(catalogue))

    async def tidy(self) -> None:
        """Settle what changed into one layer, and give up the rows of deleted items, where it is due."""
        before = self._recommender.engine
        earlier = before.catalogue.layers
        if earlier.due:
            # It may take a second; changes go on meanwhile and are laid over the result.
            whole = await asyncio.to_thread(earlier.settle)
            await self._swap(lambda catalogue: catalogue.settled_as(whole, earlier), before.bundle)
        if self._recommender.engine.catalogue.overlay.due:
            await self._swap(Catalogue.compacted)

    async def _swap(self, change: Callable[[Catalogue], Catalogue], bundle: Bundle | None = None) -> None:
        """Serve the changed snapshot; not if it was made for a `bundle` that is not in use any more."""

        def changed(catalogue: Catalogue) -> Catalogue:
            after = change(catalogue)
            after.warm()
            return after

        async with self._lock:
            engine = self._recommender.engine
            if bundle is None or bundle is engine.bundle:
                self._recommender.use(engine.over(await asyncio.to_thread(changed, engine.catalogue)))

    def _until_next(self) -> float:
        """Seconds until a window opens or closes, at most the interval: a change may bring an earlier one."""
        now_ms = self._now_ms()
        moment = self._recommender.engine.catalogue.schedule.next_after(now_ms)
        left_s = self._interval_s if moment is None else (moment - now_ms) / 1000
        return max(_SHORTEST_S, min(left_s, self._interval_s))

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    async def _every(self, work: Callable[[], Awaitable[None]], pause_s: Callable[[], float]) -> None:
        while True:
            try:
                await asyncio.sleep(pause_s())
                await work()
            except Exception:
                # A defect must not end it, or items would stay beyond their time in silence.
                _log.exception("the catalogue's upkeep failed")
                await asyncio.sleep(self._interval_s)
