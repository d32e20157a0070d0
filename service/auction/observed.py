"""What became of sold slots: from the logs of answers and events to columns of predictions and clicks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.features.calibration_store import Page

Key = tuple[str, str]
"""An answer's id and an item's."""
MOST = 50_000
"""Sold impressions, and clicks, that are remembered at most."""


@dataclass(frozen=True, slots=True)
class Sales:
    """Sold impressions [n] of one placement in order of time: the bundle's pCTR, the bid, and the click."""

    pctr: NDArray[np.float64]
    bid_micros: NDArray[np.int64]
    clicked: NDArray[np.bool_]
    time_ms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pctr)

    def at(self, index: Any) -> Sales:
        """Some of them."""
        return Sales(self.pctr[index], self.bid_micros[index], self.clicked[index], self.time_ms[index])

    def newest(self, clicks: int, since_ms: int = 0) -> Sales:
        """The newest that have so many clicks, or all since a moment."""
        recent = self.at(self.time_ms >= since_ms)
        counted = np.cumsum(recent.clicked[::-1])[::-1]
        return recent.at(counted <= clicks)


@dataclass(slots=True)
class _Sold:
    placement: str
    pctr: float
    bid_micros: int
    time_ms: int


@dataclass(slots=True)
class Observed:
    """Remembers the newest sold impressions of one bundle version, and the clicks that name them.

    A click counts once, however often it is logged, and whether it is read before its answer or after.
    """

    version: str
    click_event: str
    _sold: dict[Key, _Sold] = field(default_factory=dict)
    _clicks: dict[Key, int] = field(default_factory=dict)

    def add_answers(self, page: Page) -> None:
        """Take in entries of the log of answers; what cannot be read is passed over."""
        for logged in _entries(page, b'"sponsored"'):
            if logged.get("bundle_version") != self.version:
                continue
            try:
                self._add(logged)
            except (LookupError, TypeError, ValueError):
                continue
        _bound(self._sold)

    def add_events(self, page: Page) -> None:
        """Take in entries of the log of events."""
        for logged in _entries(page, b'"request_id"'):
            if logged.get("event") == self.click_event:
                key = (str(logged.get("request_id")), str(logged.get("item_id")))
                self._clicks[key] = int(logged.get("timestamp") or 0)
        _bound(self._clicks)

    def sales(self, since_ms: int, until_ms: int) -> dict[str, Sales]:
        """By placement, what was sold in this time."""
        rows: dict[str, list[tuple[int, float, int, bool]]] = {}
        for key, one in self._sold.items():
            if since_ms <= one.time_ms < until_ms:
                row = (one.time_ms, one.pctr, one.bid_micros, key in self._clicks)
                rows.setdefault(one.placement, []).append(row)
        found = {}
        for placement, mine in rows.items():
            mine.sort(key=lambda row: row[0])
            times, chances, bids, clicked = zip(*mine, strict=True)
            found[placement] = Sales(
                np.array(chances, np.float64),
                np.array(bids, np.int64),
                np.array(clicked, bool),
                np.array(times, np.int64),
            )
        return found

    def _add(self, logged: dict[str, Any]) -> None:
        place = {item: number for number, item in enumerate(logged["items"])}
        for slot in logged["sponsored"]:
            pctr = logged["pctr"][place[slot["item"]]]
            if pctr is not None and 0.0 < pctr < 1.0:
                self._sold[str(logged["request_id"]), slot["item"]] = _Sold(
                    str(logged["placement"]), float(pctr), int(slot["bid_micros"]), int(logged["timestamp"])
                )


def _entries(page: Page, needs: bytes) -> Iterator[dict[str, Any]]:
    for _, raw in page:
        if needs in raw:
            try:
                logged = orjson.loads(raw)
            except orjson.JSONDecodeError:
                continue
            if isinstance(logged, dict):
                yield logged


def _bound(kept: dict[Key, Any]) -> None:
    for key in list(kept)[: max(0, len(kept) - MOST)]:
        del kept[key]
