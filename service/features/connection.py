"""Calls to Redis with a time limit, every failure named `StoreUnavailable`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from service.features.keys import CorruptValue
from service.features.scripts import Script
from service.features.store import StoreUnavailable

T = TypeVar("T")
Call = tuple[Sequence[str], Sequence[Any]]
"""Keys and arguments of one script call."""
Observe = Callable[[str, float, bool], None]
"""Told of each call: "read" or "write", seconds, and whether it failed."""


def unwatched(call: str, seconds: float, failed: bool) -> None:
    """Tell nobody."""


class RedisConnection:
    """A bounded pool of connections to one Redis, opened on first use."""

    def __init__(
        self,
        url: str,
        connections: int,
        read_timeout_s: float,
        write_timeout_s: float,
        observe: Observe = unwatched,
    ) -> None:
        self._observe = observe
        self._read_timeout_s = read_timeout_s
        self._write_timeout_s = write_timeout_s
        self._pool = ConnectionPool.from_url(
            url,
            max_connections=connections,
            protocol=2,
            # The limit of a whole call is kept here; one retry is for a connection that Redis had closed.
            socket_timeout=None,
            socket_connect_timeout=write_timeout_s,
            retry=Retry(NoBackoff(), 1),
        )
        self.client: Redis = Redis(connection_pool=self._pool)

    def pipeline(self) -> Pipeline:
        """Commands that travel together, without a transaction."""
        return self.client.pipeline(transaction=False)

    async def read(self, call: Awaitable[T]) -> T:
        """Await a call on the request path."""
        return await self._within("read", self._read_timeout_s, call)

    async def write(self, call: Awaitable[T]) -> T:
        """Await a call that may take longer."""
        return await self._within("write", self._write_timeout_s, call)

    async def wait(self, call: Awaitable[T], seconds: float) -> T:
        """Await a call that Redis answers when something happens, after `seconds` at the latest.

        It is not observed, and holds a connection of the pool meanwhile.
        """
        return await self._answered(seconds + self._write_timeout_s, call)

    async def script(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run one script."""
        (answer,) = await self.scripts(script, [(keys, arguments)])
        return answer

    async def scripts(self, script: Script, calls: Sequence[Call]) -> list[Any]:
        """Run a script once per (keys, arguments), all in one round trip."""
        if not calls:
            return []
        answers = await self.write(self._evaluate("EVALSHA", script.sha, calls))
        # A Redis that was restarted has forgotten the script: it ran none of these calls, so run them again.
        missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:
            again = await self.write(self._evaluate("EVAL", script.text, [calls[i] for i in missing]))
            for i, answer in zip(missing, again, strict=True):
                answers[i] = answer
        for answer in answers:
            if isinstance(answer, Exception):
                raise StoreUnavailable(f"{type(answer).__name__}: {answer}") from answer
        return answers

    async def close(self) -> None:
        """Drop all connections."""
        await self.client.aclose()
        await self._pool.disconnect()

    async def _evaluate(self, command: str, script: str, calls: Sequence[Call]) -> list[Any]:
        pipeline = self.pipeline()
        for keys, arguments in calls:
            pipeline.execute_command(command, script, len(keys), *keys, *arguments)
        return list(await pipeline.execute(raise_on_error=False))

    async def _within(self, kind: str, timeout_s: float, call: Awaitable[T]) -> T:
        started, failed = time.monotonic(), True
        try:
            answer = await self._answered(timeout_s, call)
            failed = False
            return answer
        finally:
            self._observe(kind, time.monotonic() - started, failed)

    async def _answered(self, timeout_s: float, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(timeout_s):
                return await call
        except TimeoutError as error:
            raise StoreUnavailable(f"no answer within {timeout_s * 1000:.0f} ms") from error
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error


@contextmanager
def reading() -> Iterator[None]:
    """Turn a value that cannot be decoded into `StoreUnavailable`: to the request it is as good as absent."""
    try:
        yield
    except CorruptValue as error:
        raise StoreUnavailable(str(error)) from error
