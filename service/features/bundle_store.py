"""What Redis knows of bundles: which version an operator chose, and which one each process serves.

The choice is one JSON (`P:1:bundle`); whoever replaces it names the number of the one that was read, so that
of two who choose at once one is told. Each process tells of itself in a hash (`P:1:bundle-workers`), and one
at a time opens another bundle, by a lease, so that the others answer meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import orjson

from service.features.connection import RedisConnection
from service.features.keys import Keys
from service.features.scripts import Script

FORGOTTEN_S = 30.0
"""A process that has not told of itself for so long has ended."""
_TTL_S = 24 * 3600
_CHOOSE = Script("""
-- KEYS choice; ARGV number that was read, new choice
local held = redis.call('GET', KEYS[1])
local number = held and (cjson.decode(held)['number'] or 0) or 0
if number ~= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
""")
_LEASE = Script("""
-- KEYS lease; ARGV who, ttl in ms
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
""")
_END_LEASE = Script("""
-- KEYS lease; ARGV who
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
""")


@dataclass(frozen=True, slots=True)
class Choice:
    """What an operator chose: this version, `pinned` or only until the next start, and the one before."""

    number: int
    version: str
    before: str | None
    pinned: bool
    at_ms: int

    @classmethod
    def from_json(cls, raw: Any) -> Self:
        """The inverse of `asdict`.

        Raises:
            ValueError: it is not what this layout writes.
        """
        try:
            before = raw["before"]
            return cls(
                int(raw["number"]),
                str(raw["version"]),
                None if before is None else str(before),
                bool(raw["pinned"]),
                int(raw["at_ms"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a choice of a bundle: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Told:
    """What a process told of itself last: what it serves, and why it refused versions."""

    version: str
    at_ms: int
    refused: Mapping[str, str] = field(default_factory=dict)


class BundleStore:
    """Every call may raise `StoreUnavailable`."""

    def __init__(self, connection: RedisConnection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys

    async def choice(self) -> Choice | None:
        """The choice as it is now; None = there is none that can be read."""
        return _choice(await self._connection.write(self._connection.client.get(self._keys.bundle)))

    async def choose(self, choice: Choice) -> bool:
        """Replace the choice whose number is one less; False = somebody else did meanwhile."""
        arguments = [choice.number - 1, orjson.dumps(asdict(choice))]
        return bool(await self._connection.script(_CHOOSE, [self._keys.bundle], arguments))

    async def tell(self, who: str, told: Told) -> Choice | None:
        """Tell of this process; returns the choice as it is now."""
        workers = self._keys.bundle_workers
        replies = await self._connection.commands(
            (
                ("HSET", workers, who, orjson.dumps(asdict(told))),
                ("EXPIRE", workers, _TTL_S),
                ("GET", self._keys.bundle),
            )
        )
        return _choice(replies[-1])

    async def leave(self, who: str) -> None:
        """This process ends."""
        await self._connection.write(self._connection.client.hdel(self._keys.bundle_workers, who))

    async def workers(self, now_ms: int) -> Sequence[Told]:
        """What the processes that run told last; those that have ended are forgotten."""
        stored = await self._connection.write(self._connection.client.hgetall(self._keys.bundle_workers))
        found, gone = [], []
        for who, raw in stored.items():
            try:
                one = Told(**orjson.loads(raw))
                late = one.at_ms < now_ms - FORGOTTEN_S * 1000
            except (orjson.JSONDecodeError, TypeError):
                late = True
            if late:
                gone.append(who)
            else:
                found.append(one)
        if gone:
            await self._connection.write(self._connection.client.hdel(self._keys.bundle_workers, *gone))
        return found

    async def turn(self, who: str, seconds: float) -> bool:
        """Whether it is this process's turn to open another bundle, for so long."""
        arguments = [who, round(seconds * 1000)]
        return bool(await self._connection.script(_LEASE, [self._keys.bundle_turn], arguments))

    async def end_turn(self, who: str) -> None:
        """Let the next one open it."""
        await self._connection.script(_END_LEASE, [self._keys.bundle_turn], [who])

    async def close(self) -> None:
        """Drop the connections."""
        await self._connection.close()


def _choice(raw: Any) -> Choice | None:
    try:
        return None if raw is None else Choice.from_json(orjson.loads(raw))
    except ValueError:
        return None
