"""What is going on right now: the items of most recent events at each placement, as the event stream says."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.background import Background
from service.cascade.query import ItemId, Rows
from service.catalogue import Catalogue
from service.features.store import StoreUnavailable, Trend
from service.logs import Outage

_log = logging.getLogger("cascada.trends")
LENGTH = 1000
"""So many items per placement are read."""

Read = Callable[[Sequence[str], int, int], Awaitable[Mapping[str, Trend]]]
Placements = Callable[[], Sequence[str]]


@dataclass(frozen=True, slots=True)
class _Resolved:
    """A trend in the rows of one snapshot of the catalogue."""

    trend: Trend
    catalogue: Catalogue
    rows: Rows
    counts: NDArray[np.float32]


@dataclass(slots=True)
class Trends:
    """The newest trends of all placements: one reference, replaced as a whole, read by every request."""

    current: Mapping[str, Trend] = field(default_factory=dict)
    _resolved: dict[str, _Resolved] = field(default_factory=dict)

    def at(self, placement: str, catalogue: Catalogue) -> tuple[Rows, NDArray[np.float32]]:
        """Rows, best first, and decayed event counts; items that the catalogue does not know are left out.

        Ids are looked up once per reading and snapshot.
        """
        trend = self.current.get(placement, Trend())
        known = self._resolved.get(placement)
        if known is None or known.trend is not trend or known.catalogue is not catalogue:
            rows = catalogue.rows_of([ItemId(item) for item in trend.item_ids])
            found = rows >= 0
            counts = np.array(trend.counts, np.float32)[found]
            known = self._resolved[placement] = _Resolved(trend, catalogue, rows[found], counts)
        return known.rows, known.counts


class TrendFollower:
    """Reads the trends again and again; while the store is away the last ones stay."""

    def __init__(self, read: Read, placements: Placements, trends: Trends, interval_s: float) -> None:
        self._read = read
        self._placements = placements
        self._trends = trends
        self._interval_s = interval_s
        self._background = Background("trends")
        self._outage = Outage(_log, "reading trends")

    def start(self) -> None:
        """Begin to follow."""
        self._background.start(self._follow())

    async def stop(self) -> None:
        """Follow no longer."""
        await self._background.stop()

    async def catch_up(self) -> None:
        """Serve with the trends of now.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        self._trends.current = await self._read(self._placements(), LENGTH, int(time.time() * 1000))

    async def _follow(self) -> None:
        while True:
            try:
                await self.catch_up()
                self._outage.ended()
            except StoreUnavailable as error:
                self._outage.began(error)
            except Exception as error:
                # A defect must not end the following, or trends would grow stale in silence.
                self._outage.began(repr(error))
            await asyncio.sleep(self._interval_s)
