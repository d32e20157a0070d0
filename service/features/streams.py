"""The logs: accepted events and answers, on capped Redis Streams, for training and for audits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio.client import Pipeline

from service.cascade.query import ItemId, UserId
from service.features.connection import RedisConnection
from service.features.keys import Keys
from service.features.store import Event

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Impression:
    """One answer: equally long columns, best first; `propensities` empty = the list was not randomised."""

    request_id: str
    user_id: UserId | None
    placement: str
    bundle_version: str
    timestamp_ms: int
    item_ids: Sequence[ItemId]
    pctr: Sequence[float] = ()
    propensities: Sequence[float] = ()


class Streams:
    """Appends to the two logs and erases a user from them. At least once: readers drop repeats."""

    def __init__(self, connection: RedisConnection, keys: Keys, events: int, impressions: int) -> None:
        self._connection = connection
        self._keys = keys
        self._events = events
        self._impressions = impressions

    def add_events(self, pipeline: Pipeline, events: Sequence[Event]) -> None:
        """Queue events on a pipeline that somebody else executes."""
        for event in events:
            pipeline.xadd(self._keys.event_log, _event_fields(event), maxlen=self._events, approximate=True)

    def add_impression(self, pipeline: Pipeline, impression: Impression) -> None:
        """Queue one answer on a pipeline that somebody else executes."""
        pipeline.xadd(
            self._keys.impression_log,
            {
                "request_id": impression.request_id,
                "user_id": impression.user_id or "",
                "placement": impression.placement,
                "bundle_version": impression.bundle_version,
                "timestamp": impression.timestamp_ms,
                "items": "\x1f".join(impression.item_ids),
                "pctr": _numbers(impression.pctr),
                "propensities": _numbers(impression.propensities),
            },
            maxlen=self._impressions,
            approximate=True,
        )

    async def erase(self, user_id: UserId) -> int:
        """Delete every entry about a user, page by page; returns how many there were."""
        names = (self._keys.event_log, self._keys.impression_log)
        return sum([await self._erase(name, user_id) for name in names])

    async def _erase(self, stream: str, user_id: UserId) -> int:
        wanted = user_id.encode()
        start, erased = "-", 0
        while page := await self._page(stream, start):
            mine = [entry for entry, fields in page if fields.get(b"user_id") == wanted]
            if mine:
                erased += await self._connection.write(self._connection.client.xdel(stream, *mine))
            start = f"({page[-1][0].decode()}"
        return erased

    async def _page(self, stream: str, start: str) -> list[tuple[bytes, Mapping[bytes, bytes]]]:
        page: Any = await self._connection.write(
            self._connection.client.xrange(stream, start, "+", count=_PAGE)
        )
        return list(page)


def _event_fields(event: Event) -> dict[Any, Any]:
    fields: dict[Any, Any] = {
        "user_id": event.user_id,
        "item_id": event.item_id,
        "event": event.event,
        "timestamp": event.timestamp_ms,
    }
    for name in ("event_id", "value", "request_id"):
        value = getattr(event, name)
        if value is not None:
            fields[name] = value
    return fields


def _numbers(values: Sequence[float]) -> str:
    return ",".join(f"{value:.6g}" for value in values)
