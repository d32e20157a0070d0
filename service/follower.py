"""Follows the item changes in the store, so that every replica's catalogue is at most a moment behind."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from service.background import Background
from service.engine import Engine
from service.features.store import FeatureStore, ItemChange, StoreUnavailable
from service.logs import Outage
from service.metrics import Metrics
from service.recommender import Recommender

_log = logging.getLogger("cascada.follower")
_PAGE = 1000
_REST_S = 0.05
"""A pause after each look, so that a burst of changes makes few snapshots."""
_ROOM = 0.1
"""With so much of the limit free again, what was refused is tried once more."""


class Follower:
    """Applies changes to the recommender's engine, as soon as the store announces them.

    `lock` is held while the next snapshot is made, so that none is lost. Deletions are remembered for
    `remembered_s` (`service.forgetting`): who has not looked for half as long begins anew, for clocks differ.
    """

    def __init__(
        self,
        store: FeatureStore,
        recommender: Recommender,
        metrics: Metrics,
        interval_s: float,
        remembered_s: float = math.inf,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._recommender = recommender
        self._metrics = metrics
        self._interval_s = interval_s
        self._longest_s = remembered_s / 2
        self._clock = clock
        self._complete_at = clock()
        self._cursor = "0"
        self._next: asyncio.Task[None] | None = None
        self.lock = asyncio.Lock()
        self._background = Background("follower")
        self._outage = Outage(_log, "following item changes")
        self._fullness = Outage(_log, "laying further new items over the bundle; activate a newer one")

    def start(self) -> None:
        """Begin to follow."""
        self._background.start(self._follow())

    async def stop(self) -> None:
        """Follow no longer."""
        await self._background.stop()
        if self._next is not None:
            with suppress(StoreUnavailable):
                await self._next

    async def catch_up(self) -> None:
        """Apply all changes that the store has now, and serve with them.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        # Whoever comes before the next look has begun shares it: many callers make one snapshot.
        if self._next is None:
            self._next = asyncio.create_task(self._look(), name="catch-up")
        await asyncio.shield(self._next)

    async def _look(self) -> None:
        async with self.lock:
            self._next = None
            if self._clock() - self._complete_at > self._longest_s:
                _log.warning("away for long: reading all item changes anew, for deletions may be forgotten")
                self._recommender.use(await self._from_start(self._recommender.engine.as_exported()))
            while changes := await self._store.item_changes(self._cursor, _PAGE):
                self._recommender.use(await self._applied(self._recommender.engine, changes))
                self._observe(changes)
            self._complete_at = self._clock()

    async def advance(self, engine: Engine) -> Engine:
        """An engine that is not in use yet, with all changes that the store has now, from the first one on.

        Raises:
            StoreUnavailable: as `catch_up`.
        """
        async with self.lock:
            return await self._from_start(engine)

    async def hand_over(self, engine: Engine) -> None:
        """Serve with another engine from the next request on, none of the changes of now missing.

        Raises:
            StoreUnavailable: as `catch_up`; the engine in use stays.
        """
        async with self.lock:
            self._recommender.use(await self._from_start(engine))

    async def _from_start(self, engine: Engine) -> Engine:
        try:
            self._cursor = "0"
            started = self._clock()
            while changes := await self._store.item_changes(self._cursor, _PAGE):
                engine = await self._applied(engine, changes)
            self._complete_at = started
            return engine
        except BaseException:
            # Whoever serves with the engine that was given has seen none of these changes.
            self._cursor = "0"
            raise

    async def _applied(self, engine: Engine, changes: Sequence[ItemChange]) -> Engine:
        # Vectors of new items are computed: not on the thread that answers.
        engine = await asyncio.to_thread(self._apply, engine, changes)
        self._cursor = changes[-1].cursor
        return engine

    async def _follow(self) -> None:
        while True:
            try:
                await self._store.wait_for_changes(self._cursor, self._interval_s)
                await self.catch_up()
                await self._retry()
                self._outage.ended()
                pause_s = min(_REST_S, self._interval_s)
            except StoreUnavailable as error:
                self._outage.began(error)
                pause_s = self._interval_s
            except Exception as error:
                # A defect must not end the following, or this replica would grow stale in silence.
                self._outage.began(repr(error))
                pause_s = self._interval_s
            await asyncio.sleep(pause_s)

    async def _retry(self) -> None:
        """Once there is room again, read everything once more for what was refused."""
        engine = self._recommender.engine
        if engine.refused and engine.catalogue.overlay.room > engine.catalogue.overlay.capacity * _ROOM:
            async with self.lock:
                engine = self._recommender.engine
                self._recommender.use(engine.over(replace(engine.catalogue, refused=0)))
                self._cursor = "0"
            await self.catch_up()
            self._fullness.ended()

    def _apply(self, engine: Engine, changes: Sequence[ItemChange]) -> Engine:
        now_ms = int(time.time() * 1000)
        try:
            after = engine.with_changes(changes, now_ms)
            self._count(engine, after, len(changes))
        except (TypeError, ValueError):
            # A record that another version wrote must not keep the others from being applied.
            after = engine
            for change in changes:
                after = self._apply_one(after, change, now_ms)
        after.warm()
        return after

    def _apply_one(self, engine: Engine, change: ItemChange, now_ms: int) -> Engine:
        try:
            after = engine.with_changes([change], now_ms)
            self._count(engine, after, 1)
        except (TypeError, ValueError) as error:
            self._metrics.catalogue_changes.labels("skipped").inc()
            _log.error("an item record cannot be read", extra={"item": change.item_id, "reason": str(error)})
            return engine
        return after

    def _count(self, before: Engine, after: Engine, changes: int) -> None:
        refused = after.refused - before.refused
        self._metrics.catalogue_changes.labels("applied").inc(changes - refused)
        if refused:
            self._metrics.catalogue_changes.labels("refused").inc(refused)
            self._fullness.began(f"{refused} changes found no room (CASCADA_LIVE_ITEM_LIMIT)")

    def _observe(self, changes: Sequence[ItemChange]) -> None:
        """How old each change is, for its number counts the microseconds of when it was stored."""
        now_us = time.time() * 1e6
        for change in changes:
            self._metrics.item_change_seconds.observe(max(0.0, now_us - int(change.cursor)) / 1e6)
