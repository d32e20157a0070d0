"""Follows the item changes in the store, so that every replica's catalogue is at most a moment behind."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from service.background import Background
from service.engine import Engine
from service.errors import OperatorError
from service.features.store import FeatureStore, ItemChange, StoreUnavailable
from service.logs import Outage
from service.metrics import Metrics
from service.recommender import Recommender

_log = logging.getLogger("cascada.follower")
_PAGE = 1000


class Follower:
    """Applies changes to the recommender's engine."""

    def __init__(
        self, store: FeatureStore, recommender: Recommender, metrics: Metrics, interval_s: float
    ) -> None:
        self._store = store
        self._recommender = recommender
        self._metrics = metrics
        self._interval_s = interval_s
        self._cursor = "0"
        self._lock = asyncio.Lock()
        self._background = Background("follower")
        self._outage = Outage(_log, "following item changes")

    def start(self) -> None:
        """Begin to follow."""
        self._background.start(self._follow())

    async def stop(self) -> None:
        """Follow no longer."""
        await self._background.stop()

    async def catch_up(self) -> None:
        """Apply all changes that the store has now, and serve with them.

        Raises:
            StoreUnavailable: the store does not answer.
            OperatorError: the bundle's catalogue is full of changes.
        """
        async with self._lock:
            while changes := await self._store.item_changes(self._cursor, _PAGE):
                self._recommender.use(await self._applied(self._recommender.engine, changes))

    async def advance(self, engine: Engine) -> Engine:
        """An engine that is not in use yet, with all changes that the store has now, from the first one on.

        Raises:
            StoreUnavailable, OperatorError: as `catch_up`.
        """
        async with self._lock:
            try:
                self._cursor = "0"
                while changes := await self._store.item_changes(self._cursor, _PAGE):
                    engine = await self._applied(engine, changes)
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
            await asyncio.sleep(self._interval_s)
            try:
                await self.catch_up()
                self._outage.ended()
            except StoreUnavailable as error:
                self._outage.began(error)
            except OperatorError as error:
                self._metrics.catalogue_changes.labels("refused").inc()
                self._outage.began(error)
            except Exception as error:
                # A defect must not end the following, or this replica would grow stale in silence.
                self._outage.began(repr(error))

    def _apply(self, engine: Engine, changes: Sequence[ItemChange]) -> Engine:
        now_ms = int(time.time() * 1000)
        try:
            engine = engine.with_changes(changes, now_ms)
            self._metrics.catalogue_changes.labels("applied").inc(len(changes))
        except (TypeError, ValueError):
            # A record that another version wrote must not keep the others from being applied.
            for change in changes:
                engine = self._apply_one(engine, change, now_ms)
        return engine

    def _apply_one(self, engine: Engine, change: ItemChange, now_ms: int) -> Engine:
        try:
            engine = engine.with_changes([change], now_ms)
            self._metrics.catalogue_changes.labels("applied").inc()
        except (TypeError, ValueError) as error:
            self._metrics.catalogue_changes.labels("skipped").inc()
            _log.error("an item record cannot be read", extra={"item": change.item_id, "reason": str(error)})
        return engine
