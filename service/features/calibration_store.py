"""What the guard of click probabilities keeps in Redis, and the logs that it reads.

One JSON per bundle version (`P:1:calibration:{version}`) says which calibrator each placement prices with;
one process at a time may change it, by a lease beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from service.features.connection import RedisConnection
from service.features.keys import Keys
from service.features.scripts import Script

_TTL_S = 31 * 24 * 3600
_LEASE = Script("""
-- KEYS lease; ARGV who, ttl in ms
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
""")
"""Takes or renews a lease; 1 = it is ours."""

Page = list[tuple[str, bytes]]
"""Entries of a log, oldest first: id and JSON."""


class CalibrationStore:
    """Reads the logs of answers and events piece by piece; every call may raise `StoreUnavailable`."""

    def __init__(self, connection: RedisConnection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys

    async def leads(self, who: str, seconds: float) -> bool:
        """Whether this process is the one that judges, for so long."""
        keys, arguments = [self._keys.calibration_lease], [who, max(1, round(seconds * 1000))]
        return bool(await self._connection.script(_LEASE, keys, arguments))

    async def read(self, version: str) -> Mapping[str, Any] | None:
        """The state of a bundle version; None = there is none that can be read."""
        raw = await self._connection.read(self._connection.client.get(self._keys.calibration(version)))
        try:
            state = None if raw is None else orjson.loads(raw)
        except orjson.JSONDecodeError:
            return None
        return state if isinstance(state, dict) else None

    async def write(self, version: str, state: Mapping[str, Any]) -> None:
        """Replace the state of a bundle version."""
        name = self._keys.calibration(version)
        await self._connection.write(self._connection.client.set(name, orjson.dumps(state), ex=_TTL_S))

    async def answers(self, after: str, count: int) -> Page:
        """The next answers after an entry's id."""
        return await self._page(self._keys.impression_log, after, count)

    async def events(self, after: str, count: int) -> Page:
        """The next events after an entry's id."""
        return await self._page(self._keys.event_log, after, count)

    async def close(self) -> None:
        """Drop the connections."""
        await self._connection.close()

    async def _page(self, stream: str, after: str, count: int) -> Page:
        found: Any = await self._connection.write(
            self._connection.client.xrange(stream, f"({after}", "+", count=count)
        )
        return [(entry.decode(), fields.get(b"json", b"")) for entry, fields in found]
