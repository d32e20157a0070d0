"""Gives the marks of deleted items an end, so that Redis does not remember every item there ever was.

A mark tells replicas that still show an item, and bundles that still hold it, that it is gone. It is dropped
when it is as old as the setting says and the bundle in use does not hold the item. Followers that were away
for long begin anew (`service.follower`), so none keeps showing what others have forgotten. An older bundle
that holds the item would show it again: activate none that is older than the deletions that are forgotten.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from service.background import Background
from service.cascade.query import ItemId
from service.catalogue import Catalogue
from service.errors import NotReady
from service.features.store import StoreUnavailable

_log = logging.getLogger("cascada.forgetting")
_PAGE = 1000
_SWEEPS = 20
"""In the time for which a mark is kept."""
_LONGEST_S = 3600.0


class Marks(Protocol):
    """The part of the store that is needed."""

    async def deleted_items(self, before_ms: int, offset: int, limit: int) -> Sequence[ItemId]:
        """Items that were deleted until a moment."""

    async def forget_deleted(self, item_ids: Sequence[ItemId], before_ms: int) -> int:
        """Drop their marks."""


class Forgetting:
    """Looks now and then for marks older than `kept_s` seconds. Several processes may do so at once."""

    def __init__(
        self,
        marks: Marks,
        catalogue: Callable[[], Catalogue],
        kept_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._marks = marks
        self._catalogue = catalogue
        self._kept_s = kept_s
        self._clock = clock
        self._background = Background("forgetting")

    def start(self) -> None:
        """Begin."""
        self._background.start(self._every(min(self._kept_s / _SWEEPS, _LONGEST_S)))

    async def stop(self) -> None:
        """Leave what is left."""
        await self._background.stop()

    async def sweep(self) -> int:
        """Drop the marks that are due; how many there were.

        Raises:
            StoreUnavailable: the store does not answer; what was dropped is dropped.
            NotReady: there is no bundle yet.
        """
        identifiers = self._catalogue().exported.identifiers
        before_ms = int((self._clock() - self._kept_s) * 1000)
        dropped = offset = 0
        while page := await self._marks.deleted_items(before_ms, offset, _PAGE):
            late = [page[i] for i in np.flatnonzero(identifiers.rows_of(page) < 0).tolist()]
            gone = await self._marks.forget_deleted(late, before_ms) if late else 0
            dropped += gone
            offset += len(page) - gone
        return dropped

    async def _every(self, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s)
            try:
                if dropped := await self.sweep():
                    _log.info("forgot deleted items", extra={"count": dropped})
            except (StoreUnavailable, NotReady):
                # It is tried again, and the follower tells of the outage.
                continue
            except Exception:
                # A defect must not end it, or the marks would grow in silence.
                _log.exception("the marks of deleted items could not be swept")
