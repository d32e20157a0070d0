"""Traces of answers in Redis: the newest, for a limited time, so that any worker can explain any answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from service.cascade.query import UserId
from service.features.connection import RedisConnection
from service.features.keys import Keys
from service.features.scripts import ADD_TRACES, ERASE_TRACES

_ANONYMOUS = "-"
_USER = "u:"


@dataclass(frozen=True, slots=True)
class PackedTrace:
    """The bytes of one trace (`service.explain.codec`) and what it is found by."""

    request_id: str
    user_id: UserId | None
    content: bytes


class Traces:
    """At most `keep` traces, none older than `ttl_s`. A repeated request_id replaces its earlier trace."""

    def __init__(
        self,
        connection: RedisConnection,
        keys: Keys,
        keep: int,
        ttl_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._keep = keep
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._clock = clock

    async def add(self, traces: Sequence[PackedTrace]) -> None:
        """Keep traces, and let go of the oldest in their place.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        if not traces or self._keep == 0:
            return
        keys = self._keys
        names = [keys.trace_order, keys.trace_users, *(keys.trace(one.request_id) for one in traces)]
        arguments: list[Any] = [self._keep, self._ttl_ms, round(self._clock() * 1000), keys.trace("")]
        for one in traces:
            arguments += [one.request_id, _owner(one.user_id), one.content]
        await self._connection.script(ADD_TRACES, names, arguments)

    async def find(self, request_id: str) -> bytes | None:
        """The bytes of a trace; None = there is none (any more).

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        # Somebody waits for an explanation, not for a list: the longer limit.
        found: Any = await self._connection.write(self._connection.client.get(self._keys.trace(request_id)))
        return None if found is None else bytes(found)

    async def erase(self, user_id: UserId) -> int:
        """Forget the traces of a user; returns how many there were."""
        names = [self._keys.trace_order, self._keys.trace_users]
        return int(
            await self._connection.script(ERASE_TRACES, names, [_owner(user_id), self._keys.trace("")])
        )


def _owner(user_id: UserId | None) -> str:
    """What stands for a user; no id of one is the same as nobody's."""
    return _ANONYMOUS if user_id is None else f"{_USER}{user_id}"
