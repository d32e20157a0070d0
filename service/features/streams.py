"""The logs: accepted events and answers, on capped Redis Streams, for training and for audits.

An entry has two fields: `user_id` (empty = anonymous), by which a user can be erased, and `json`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.cascade.query import ItemId, UserId
from service.features.accounts import Slot
from service.features.connection import RedisConnection
from service.features.keys import Keys
from service.features.scripts import APPEND_LOG
from service.features.store import Event

Floats = NDArray[np.float32]

_PAGE = 1000
LONGEST_QUERY = 500
"""Characters of a search that are logged."""


@dataclass(frozen=True, slots=True)
class Impression:
    """One answer: equally long columns [n], best first; `propensities` None = the list was not randomised."""

    request_id: str
    user_id: UserId | None
    cascade: str
    placement: str
    bundle_version: str
    timestamp_ms: int
    item_ids: Sequence[ItemId]
    pctr: Floats | None = None
    propensities: Floats | None = None
    new_items: Sequence[ItemId] = ()
    """Those of `item_ids` that came after the bundle."""
    sold: Sequence[Slot] = ()
    """Those of `item_ids` that were sold, and at which price."""
    query: str | None = None
    """The words of a search, its first `LONGEST_QUERY` characters."""


class Streams:
    """Appends to the two logs and erases a user from them. At least once: readers drop repeats."""

    def __init__(self, connection: RedisConnection, keys: Keys, events: int, impressions: int) -> None:
        self._connection = connection
        self._keys = keys
        self._events = events
        self._impressions = impressions

    async def add_events(self, events: Sequence[Event]) -> None:
        """Log events."""
        entries = [(event.user_id, _event_fields(event)) for event in events]
        await self._add(self._keys.event_log, self._events, entries)

    async def add_impressions(self, impressions: Sequence[Impression]) -> None:
        """Log answers."""
        entries = [(impression.user_id, _impression_fields(impression)) for impression in impressions]
        await self._add(self._keys.impression_log, self._impressions, entries)

    async def erase(self, user_id: UserId) -> int:
        """Delete every entry about a user, page by page; returns how many there were."""
        names = (self._keys.event_log, self._keys.impression_log)
        return sum([await self._erase(name, user_id) for name in names])

    async def _add(self, stream: str, keep: int, entries: Sequence[tuple[UserId | None, Any]]) -> None:
        arguments: list[Any] = [keep]
        for user_id, fields in entries:
            arguments += [user_id or "", orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY)]
        await self._connection.script(APPEND_LOG, [stream], arguments)

    async def _erase(self, stream: str, user_id: UserId) -> int:
        wanted = user_id.encode()
        start, erased = "-", 0
        while page := await self._page(stream, start):
            mine = [entry for entry, fields in page if fields.get(b"user_id") == wanted]
            if mine:
                erased += await self._connection.write(self._connection.client.xdel(stream, *mine))
            start = f"({page[-1][0].decode()}"
        return erased

    async def entries(self, stream: str) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        """Every entry of a log, oldest first: the user's id ("" = a stranger) and what was logged.

        An entry that another version wrote in another form is passed over.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        start = "-"
        while page := await self._page(stream, start):
            for _, fields in page:
                try:
                    logged = orjson.loads(fields[b"json"])
                except (KeyError, orjson.JSONDecodeError):
                    continue
                if isinstance(logged, dict):
                    yield fields.get(b"user_id", b"").decode(), logged
            start = f"({page[-1][0].decode()}"

    async def _page(self, stream: str, start: str) -> list[tuple[bytes, Mapping[bytes, bytes]]]:
        page: Any = await self._connection.write(
            self._connection.client.xrange(stream, start, "+", count=_PAGE)
        )
        return list(page)


def _event_fields(event: Event) -> dict[str, Any]:
    fields: dict[str, Any] = {"item_id": event.item_id, "event": event.event, "timestamp": event.timestamp_ms}
    optional = {"event_id": event.event_id, "value": event.value, "request_id": event.request_id}
    return fields | {name: value for name, value in optional.items() if value is not None}


def _impression_fields(impression: Impression) -> dict[str, Any]:
    sold = [
        {
            "item": slot.item_id,
            "advertiser": slot.advertiser_id,
            "currency": slot.currency,
            "bid_micros": slot.bid_micros,
            "price_micros": slot.price_micros,
        }
        for slot in impression.sold
    ]
    searched: dict[str, Any] = {} if impression.query is None else {"query": impression.query[:LONGEST_QUERY]}
    if sold:
        searched["sponsored"] = sold
    return searched | {
        "request_id": impression.request_id,
        "cascade": impression.cascade,
        "placement": impression.placement,
        "bundle_version": impression.bundle_version,
        "timestamp": impression.timestamp_ms,
        "items": list(impression.item_ids),
        "pctr": impression.pctr,
        "propensities": impression.propensities,
    }
