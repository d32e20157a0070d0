"""The feature store on Redis: one round trip to read a user, one script per user to write."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from service.cascade.query import ItemId, UserId
from service.features import scripts
from service.features.channel import Channel, Observe, unwatched
from service.features.connection import RedisConnection, reading
from service.features.keys import (
    Keys,
    digest,
    pack,
    pack_exposure,
    pack_object,
    pack_preference,
    unpack,
    unpack_object,
    unpack_preferences,
)
from service.features.store import Event, ItemChange, Preference, StoreUnavailable, Trend, UserRecord
from service.features.streams import Impression, Streams
from service.features.traces import Traces

_USERS_PER_ROUND = 256
_TREND_HALF_LIVES = 20
"""A trend without any event for so long is forgotten."""


@dataclass(frozen=True, slots=True)
class RedisLimits:
    """What bounds the store: time per call, connections, and how much is kept of each user and log."""

    read_timeout_s: float = 0.05
    write_timeout_s: float = 1.0
    connections: int = 80
    history: int = 1000
    event_ids: int = 10_000
    event_id_ttl_s: int = 24 * 3600
    preferences: int = 50
    exposures: int = 200
    exposure_ttl_s: int = 30 * 24 * 3600
    trend_half_life_s: float = 7 * 24 * 3600
    trend_items: int = 10_000
    item_log: int = 10_000
    event_log: int = 100_000
    impression_log: int = 100_000
    traces: int = 1000
    trace_ttl_s: float = 24 * 3600


class RedisStore:
    """A `FeatureStore` on one Redis. Connects lazily: Redis may be absent at start, and may come and go."""

    def __init__(
        self,
        url: str,
        keys: Keys | None = None,
        limits: RedisLimits | None = None,
        clock: Callable[[], float] = time.time,
        observe: Observe = unwatched,
    ) -> None:
        self._keys = keys or Keys()
        self._limits = limits = limits or RedisLimits()
        self._clock = clock
        self._redis = RedisConnection(
            url, limits.connections, limits.read_timeout_s, limits.write_timeout_s, observe
        )
        self._channel = Channel(url, limits.read_timeout_s, observe) if Channel.knows(url) else None
        self._streams = Streams(self._redis, self._keys, limits.event_log, limits.impression_log)
        self.traces = Traces(self._redis, self._keys, limits.traces, limits.trace_ttl_s, clock)

    async def fetch(self, user_id: UserId, within_s: float | None = None) -> UserRecord:
        """Attributes, events and preferences of a user, oldest first."""
        profile, lines, stored = await self._state(user_id, within_s)
        with reading():
            attributes = None if profile is None else unpack_object(profile)
            timestamps, kinds, items = unpack(lines[::-1])
            preferences = unpack_preferences(stored)
        known = bool(items) or bool(preferences) or attributes is not None
        return UserRecord(attributes or {}, items, kinds, timestamps, known, preferences)

    async def _state(
        self, user_id: UserId, within_s: float | None
    ) -> tuple[bytes | None, Sequence[bytes], Mapping[bytes, bytes]]:
        """What is stored of a user's profile, history (newest first) and preferences."""
        keys, last = self._keys, self._limits.history - 1
        if self._channel is None:
            pipeline = self._redis.pipeline()
            pipeline.get(keys.profile(user_id))
            pipeline.lrange(keys.history(user_id), 0, last)
            pipeline.hgetall(keys.interests(user_id))
            profile, lines, stored = await self._redis.read(pipeline.execute(), within_s)
            return profile, lines, stored
        profile, lines, flat = await self._channel.read(
            (
                ("GET", keys.profile(user_id)),
                ("LRANGE", keys.history(user_id), 0, last),
                ("HGETALL", keys.interests(user_id)),
            ),
            within_s,
        )
        return profile, lines, dict(zip(flat[0::2], flat[1::2], strict=True))

    async def append(self, events: Sequence[Event]) -> Sequence[bool]:
        """Store events and log them; False at each duplicate by `event_id` of the same user."""
        positions: dict[UserId, list[int]] = {}
        for index in sorted(range(len(events)), key=lambda i: events[i].timestamp_ms):
            positions.setdefault(events[index].user_id, []).append(index)
        stored = [True] * len(events)
        users = iter(positions.items())
        while part := list(islice(users, _USERS_PER_ROUND)):
            await self._streams.add_events([events[i] for _, indices in part for i in indices])
            calls = [self._append_call(user, [events[i] for i in indices]) for user, indices in part]
            answers = await self._redis.scripts(scripts.APPEND_EVENTS, calls)
            for (_, indices), answer in zip(part, answers, strict=True):
                for index, fresh in zip(indices, answer, strict=True):
                    stored[index] = bool(fresh)
        # The events are stored: a trend that misses some must not make the caller send them again.
        with suppress(StoreUnavailable):
            await self._add_trends([one for one, fresh in zip(events, stored, strict=True) if fresh])
        return stored

    async def trends(self, placements: Sequence[str], limit: int, now_ms: int) -> Mapping[str, Trend]:
        """At each placement the `limit` items of most events, decayed until `now_ms`, best first."""
        half_life_s = self._limits.trend_half_life_s
        pipeline = self._redis.pipeline()
        for placement in placements:
            pipeline.zrevrange(self._keys.trend(placement, half_life_s), 0, limit - 1, withscores=True)
        found = await self._redis.write(pipeline.execute())
        now = now_ms / 1000 / half_life_s
        return {
            placement: Trend(
                [item.decode() for item, _ in items],
                # An event from a clock ahead of ours counts a little more than one.
                [math.exp2(min(score - now, 60.0)) for _, score in items],
            )
            for placement, items in zip(placements, found, strict=True)
        }

    async def _add_trends(self, events: Sequence[Event]) -> None:
        half_life_s = self._limits.trend_half_life_s
        ttl_s = math.ceil(_TREND_HALF_LIVES * half_life_s)
        by_placement: dict[str, list[Any]] = {}
        for event in events:
            if event.placement is not None:
                arguments = by_placement.setdefault(event.placement, [self._limits.trend_items, ttl_s])
                arguments += [event.item_id, repr(event.timestamp_ms / 1000 / half_life_s)]
        calls = [([self._keys.trend(name, half_life_s)], each) for name, each in by_placement.items()]
        await self._redis.scripts(scripts.ADD_TREND, calls)

    async def put_user(self, user_id: UserId, attributes: Mapping[str, Any]) -> None:
        """Replace a user's attributes."""
        await self._redis.write(self._redis.client.set(self._keys.profile(user_id), pack_object(attributes)))

    async def prefer(self, user_id: UserId, gone: Sequence[str], new: Preference | None) -> bool:
        """Change what a user pinned and muted, in one script; False = no room, nothing changed."""
        added = ["", b""] if new is None else [new.interest, pack_preference(new)]
        names = [self._keys.interests(user_id)]
        arguments = [self._limits.preferences, *added, *gone]
        return bool(await self._redis.script(scripts.CHANGE_PREFERENCES, names, arguments))

    async def delete_user(self, user_id: UserId) -> bool:
        """Erase a user's keys, the traces of his answers and every line about the user in the logs."""
        keys = self._keys
        names = [
            keys.profile(user_id),
            keys.history(user_id),
            keys.event_ids(user_id),
            keys.interests(user_id),
            keys.exposures(user_id),
            keys.ads_shown(user_id),
        ]
        gone = await self._redis.write(self._redis.client.delete(*names))
        traced = await self.traces.erase(user_id)
        return bool(gone) | bool(traced) | bool(await self._streams.erase(user_id))

    async def put_items(self, records: Mapping[ItemId, Mapping[str, Any]]) -> None:
        """Store whole records; each takes the next change number, in the order given."""
        if records:
            await self._change_items([(item, pack_object(record)) for item, record in records.items()])

    async def take_unseen(self, item_ids: Sequence[ItemId]) -> Sequence[int | None]:
        """When each item was first put, in ms, once: None ever after, and for an item that was not new."""
        found = await self._redis.script(scripts.TAKE_UNSEEN, [self._keys.unseen_items], list(item_ids))
        return [int(float(score)) if score else None for score in found]

    async def get_item(self, item_id: ItemId) -> ItemChange | None:
        """The newest change of an item."""
        pipeline = self._redis.pipeline()
        pipeline.hget(self._keys.item_records, item_id)
        pipeline.zscore(self._keys.item_order, item_id)
        record, number = await self._redis.read(pipeline.execute())
        if record is None or number is None:
            return None
        with reading():
            return ItemChange(str(int(number)), item_id, unpack_object(record))

    async def delete_item(self, item_id: ItemId) -> None:
        """Leave a mark that the item is gone, for the bundle may still know it."""
        await self._change_items([(item_id, pack_object(None))])

    async def deleted_items(self, before_ms: int, offset: int, limit: int) -> Sequence[ItemId]:
        """Items that were deleted until a moment and are so still, the longest ago first."""
        found: Any = await self._redis.write(
            self._redis.client.zrangebyscore(self._keys.item_deletions, "-inf", before_ms, offset, limit)
        )
        return [ItemId(item.decode()) for item in found]

    async def forget_deleted(self, item_ids: Sequence[ItemId], before_ms: int) -> int:
        """Drop the marks of items that were deleted until a moment and are so still; how many there were.

        Whoever still serves such an item, because it missed the deletion, will not be told any more.
        """
        keys = self._keys
        names = [keys.item_records, keys.item_order, keys.item_deletions]
        return int(await self._redis.script(scripts.FORGET_DELETED, names, [before_ms, *item_ids]))

    async def item_changes(self, after: str, limit: int) -> Sequence[ItemChange]:
        """The newest change of each item that changed after the cursor, oldest first."""
        names = [self._keys.item_order, self._keys.item_records, self._keys.item_changes]
        flat = await self._redis.script(scripts.READ_CHANGES, names, [int(after), limit])
        with reading():
            return [
                ItemChange(number.decode(), ItemId(item.decode()), unpack_object(record))
                for number, item, record in zip(flat[0::3], flat[1::3], flat[2::3], strict=True)
            ]

    async def wait_for_changes(self, after: str, seconds: float) -> None:
        """Return as soon as an item has changed after the cursor, else after so many seconds."""
        place = (self._keys.item_changes, f"{int(after)}-0")
        # Redis counts in whole milliseconds, and takes 0 for "for ever".
        block = max(1, round(seconds * 1000))
        await self._redis.wait(("XREAD", "COUNT", 1, "BLOCK", block, "STREAMS", *place), seconds)

    async def record(self, impressions: Sequence[Impression]) -> None:
        """Log answers, and remember what each user was shown: newest first, bounded, for a limited time."""
        await self._streams.add_impressions(impressions)
        shown: dict[UserId, list[str]] = {}
        for one in impressions:
            if one.user_id is not None and one.item_ids:
                line = pack_exposure(one.timestamp_ms, one.request_id, one.item_ids)
                shown.setdefault(one.user_id, []).append(line)
        limits = [self._limits.exposures, self._limits.exposure_ttl_s]
        calls = [([self._keys.exposures(user)], [*limits, *lines]) for user, lines in shown.items()]
        await self._redis.scripts(scripts.ADD_EXPOSURES, calls)

    async def ping(self) -> None:
        """Raise unless Redis answers."""
        await self._redis.read(self._redis.client.ping())

    async def close(self) -> None:
        """Drop all connections."""
        if self._channel is not None:
            await self._channel.close()
        await self._redis.close()

    def _append_call(self, user_id: UserId, events: Sequence[Event]) -> tuple[list[str], list[Any]]:
        limits, now_ms = self._limits, self._now_us() // 1000
        arguments: list[Any] = [limits.history, limits.event_ids, limits.event_id_ttl_s, now_ms]
        for event in events:
            mark = b"" if event.event_id is None else digest(event.event_id)
            arguments += [event.timestamp_ms, mark, pack(event.timestamp_ms, event.event, event.item_id)]
        return [self._keys.history(user_id), self._keys.event_ids(user_id)], arguments

    async def _change_items(self, changes: Sequence[tuple[ItemId, bytes]]) -> None:
        arguments: list[Any] = [self._now_us(), self._limits.item_log]
        for item, record in changes:
            arguments += [item, record]
        keys = self._keys
        names = [keys.item_records, keys.item_order, keys.item_changes, keys.unseen_items]
        await self._redis.script(scripts.CHANGE_ITEMS, [*names, keys.item_deletions], arguments)

    def _now_us(self) -> int:
        return int(self._clock() * 1_000_000)
