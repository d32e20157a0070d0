"""Calls to Redis with a time limit, every failure named `StoreUnavailable`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import hiredis
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from service.features.channel import Channel, Command, Observe, shorter, unwatched
from service.features.keys import CorruptValue
from service.features.scripts import Script
from service.features.store import StoreUnavailable

T = TypeVar("T")
Call = tuple[Sequence[str], Sequence[Any]]
"""Keys and arguments of one script call."""


class RedisConnection:
    """A bounded pool of connections to one Redis, opened on first use.

    What is called often goes without it: scripts and plain commands share one connection where the URL
    allows that (`Channel.knows`), and what waits for news has another one.
    """

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
        self._channel = self._news = None
        if Channel.knows(url):
            # Calls are limited here; a connection on which one waited for half of that is not used again.
            self._channel = Channel(url, write_timeout_s, stuck_s=write_timeout_s / 2)
            self._news = Channel(url, write_timeout_s)

    def pipeline(self) -> Pipeline:
        """Commands that travel together, without a transaction."""
        return self.client.pipeline(transaction=False)

    async def read(self, call: Awaitable[T], within_s: float | None = None) -> T:
        """Await a call on the request path, which may have less time than others."""
        return await self._within("read", shorter(self._read_timeout_s, within_s), call)

    async def write(self, call: Awaitable[T]) -> T:
        """Await a call that may take longer."""
        return await self._within("write", self._write_timeout_s, call)

    async def commands(self, commands: Sequence[Command]) -> list[Any]:
        """As `write`: the reply of each command, all in one round trip; none may be refused."""
        replies = await self.write(self._replies(commands))
        _check(replies)
        return replies

    async def wait(self, command: Command, seconds: float) -> Any:
        """The reply to a command that Redis answers when something happens, after `seconds` at the latest.

        It is not observed, and holds a connection meanwhile; one waits at a time.
        """
        longest_s = seconds + self._write_timeout_s
        if self._news is None:
            return await self._answered(longest_s, self.client.execute_command(*command))  # type: ignore[no-untyped-call]
        replies = await self._answered(longest_s, self._news.replies([command], longest_s))
        _check(replies)
        return replies[0]

    async def script(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run one script."""
        (answer,) = await self.scripts(script, [(keys, arguments)])
        return answer

    async def scripts(self, script: Script, calls: Sequence[Call]) -> list[Any]:
        """Run a script once per (keys, arguments), all in one round trip."""
        if not calls:
            return []
        answers = await self.write(self._replies(_evaluations("EVALSHA", script.sha, calls)))
        # A Redis that was restarted has forgotten the script: it ran none of these calls, so run them again.
        missing = [i for i, answer in enumerate(answers) if _is_unknown(answer)]
        if missing:
            unknown = [calls[i] for i in missing]
            again = await self.write(self._replies(_evaluations("EVAL", script.text, unknown)))
            for i, answer in zip(missing, again, strict=True):
                answers[i] = answer
        _check(answers)
        return answers

    async def close(self) -> None:
        """Drop all connections."""
        for channel in (self._channel, self._news):
            if channel is not None:
                await channel.close()
        await self.client.aclose()
        await self._pool.disconnect()

    async def _replies(self, commands: Sequence[Command]) -> list[Any]:
        if self._channel is not None:
            return await self._channel.replies(commands)
        pipeline = self.pipeline()
        for command in commands:
            pipeline.execute_command(*command)
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


def _evaluations(command: str, script: str, calls: Sequence[Call]) -> list[Command]:
    return [(command, script, len(keys), *keys, *arguments) for keys, arguments in calls]


def _check(replies: Sequence[Any]) -> None:
    for reply in replies:
        if isinstance(reply, Exception):
            raise StoreUnavailable(f"Redis: {reply}") from reply


def _is_unknown(answer: Any) -> bool:
    """Whether Redis does not know a script by its name."""
    if isinstance(answer, hiredis.ReplyError):
        return str(answer).startswith("NOSCRIPT")
    return isinstance(answer, NoScriptError)


@contextmanager
def reading() -> Iterator[None]:
    """Turn a value that cannot be decoded into `StoreUnavailable`: to the request it is as good as absent."""
    try:
        yield
    except CorruptValue as error:
        raise StoreUnavailable(str(error)) from error
