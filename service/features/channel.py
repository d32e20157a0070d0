"""Commands of many tasks over one connection to Redis: what is asked meanwhile travels together.

A pool gives each call a connection of its own, and a client for every command and reply type costs a third
of a millisecond per read. Here a call is one write to a socket and the replies that come back in order.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import hiredis
from redis.asyncio.connection import parse_url

from service.features.store import StoreUnavailable

Command = tuple[str | bytes | int | float, ...]
Observe = Callable[[str, float, bool], None]
"""Told of each call: "read" or "write", seconds, and whether it failed."""


def unwatched(call: str, seconds: float, failed: bool) -> None:
    """Tell nobody."""


_PLAIN = {"host", "port", "path", "db", "username", "password", "connection_class"}
"""Parts of a URL that this connection knows."""
_STUCK_S = 1.0
"""A connection whose oldest call has waited so long when another gives up is given up, too, unless told
otherwise; late replies before that are thrown away."""
_GRACE_S = 0.001
_LOADING_S = 0.02
"""Pause before a Redis that has just started, and still reads its data, is asked again."""


@dataclass(slots=True)
class _Call:
    """A call that waits for `left` more replies, and for `limit_s` at most once it is sent."""

    future: asyncio.Future[list[Any]]
    left: int
    limit_s: float
    since: float = math.inf
    timer: asyncio.TimerHandle | None = None
    replies: list[Any] = field(default_factory=list)
    looked: bool = False

    def take(self, reply: Any) -> None:
        self.replies.append(reply)
        self.left -= 1
        if self.left == 0 and not self.future.done():
            self.future.set_result(self.replies)


class _Wire(asyncio.Protocol):
    """One socket; calls are answered in the order in which they were sent.

    What is sent in one turn of the event loop goes out together: requests come in bursts, and a write to a
    socket takes as long as much of what else a read of a user takes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, stuck_s: float) -> None:
        self.loop = loop
        self._stuck_s = stuck_s
        self._unsent: list[tuple[bytes, _Call]] = []
        self._reader = hiredis.Reader()
        self._waiting: deque[_Call] = deque()
        self._transport: asyncio.Transport | None = None
        self._gone = asyncio.Event()

    @property
    def open(self) -> bool:
        """Whether calls can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                call = self._waiting[0]
                call.take(reply)
                if call.left == 0:
                    self._waiting.popleft()
        except (hiredis.HiredisError, IndexError):  # not the protocol, or a reply that nobody asked for
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            if not call.future.done():
                reason = exc or "end of file"
                call.future.set_exception(ConnectionError(f"Redis closed the connection: {reason}"))

    def send(self, payload: bytes, call: _Call) -> None:
        self._waiting.append(call)
        self._unsent.append((payload, call))
        if len(self._unsent) == 1:
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join([payload for payload, _ in unsent]))
        now = time.monotonic()
        for _, call in unsent:
            call.since = now
            if call.limit_s < math.inf:
                call.timer = self.loop.call_later(call.limit_s, self._expire, call)

    def _expire(self, call: _Call) -> None:
        if call.future.done():
            return
        if not call.looked:
            # Some event loops serve timers before sockets: let this one look once more.
            call.looked = True
            call.timer = self.loop.call_later(_GRACE_S, self._expire, call)
            return
        call.future.set_exception(TimeoutError())
        self.close_if_stuck()

    def close_if_stuck(self) -> None:
        """Close if the oldest call waits for longer than a connection that works would let it."""
        if self._waiting and time.monotonic() - self._waiting[0].since > self._stuck_s:
            self.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def end(self) -> None:
        """Close, and return when the socket is closed: a loop that ends earlier would leave it open."""
        self.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STUCK_S):
                await self._gone.wait()


class Channel:
    """Connects on first use and again after a loss; safe for any number of tasks of one event loop.

    The time limit is for Redis, not for us: it runs from when the call is sent, and a call is given up only
    when this event loop has looked at its socket after the limit and found no answer. A loop that is busy
    with other answers sends and looks late, and a timer alone would then blame Redis.
    """

    def __init__(
        self, url: str, timeout_s: float, observe: Observe = unwatched, stuck_s: float = _STUCK_S
    ) -> None:
        self._url = parse_url(url)
        self._timeout_s = timeout_s
        self._stuck_s = stuck_s
        self._closed = False
        self._observe = observe
        self._wire: _Wire | None = None
        self._connecting: asyncio.Task[_Wire] | None = None

    @staticmethod
    def knows(url: str) -> bool:
        """Whether the URL asks for nothing that only a pool can do, such as TLS."""
        return url.startswith(("redis://", "unix://")) and set(parse_url(url)) <= _PLAIN

    async def read(self, commands: Sequence[Command], within_s: float | None = None) -> list[Any]:
        """The reply of each command, all in one round trip; bytes, integers, None and lists of these.

        A call that has less time than others says so by `within_s`.

        Raises:
            StoreUnavailable: no connection, no answer within the limit, or a command was refused.
        """
        started, failed = time.monotonic(), True
        limit_s = shorter(self._timeout_s, within_s)
        try:
            replies = await self.replies(commands, limit_s)
            for reply in replies:
                if isinstance(reply, hiredis.ReplyError):
                    raise StoreUnavailable(f"Redis: {reply}")
            failed = False
            return replies
        except TimeoutError as error:
            raise StoreUnavailable(f"no answer within {limit_s * 1000:.0f} ms") from error
        except OSError as error:
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
        finally:
            self._observe("read", time.monotonic() - started, failed)

    async def replies(self, commands: Sequence[Command], timeout_s: float | None = None) -> list[Any]:
        """As `read`, told to nobody, and a command that was refused has a `hiredis.ReplyError` as its reply.

        A call whose connection is lost meanwhile is made once more, like the pool's: it may be done twice.

        Raises:
            TimeoutError: no answer within the limit, which a call may have of its own.
            OSError: no connection.
        """
        payload, count = _packed(commands), len(commands)
        until = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        try:
            answer = await self._ask(payload, count, until)
        except ConnectionError:  # closed while it was idle, or just now
            answer = await self._ask(payload, count, until)
        if isinstance(answer[0], hiredis.ReplyError) and str(answer[0]).startswith("LOADING"):
            await asyncio.sleep(min(_LOADING_S, until - time.monotonic()))
            answer = await self._ask(payload, count, until)
        return answer

    async def close(self) -> None:
        """Drop the connection for good: calls in progress fail."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting}, timeout=_STUCK_S)
        if self._wire is not None:
            await self._wire.end()

    async def _ask(self, payload: bytes, replies: int, until: float) -> list[Any]:
        if self._closed:
            raise ConnectionError("closed here")
        wire = self._wire
        if wire is None or not wire.open:
            wire = await self._connected(until)
        call = _Call(wire.loop.create_future(), replies, until - time.monotonic())
        wire.send(payload, call)
        try:
            return await call.future
        except asyncio.CancelledError:
            # Whoever limits a whole call from outside may be quicker than the timer.
            wire.close_if_stuck()
            raise
        finally:
            if call.timer is not None:
                call.timer.cancel()

    async def _connected(self, until: float) -> _Wire:
        """The connection that all who need one now wait for together."""
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(_heard)
        async with asyncio.timeout(until - time.monotonic()):
            return await asyncio.shield(self._connecting)

    async def _connect(self) -> _Wire:
        loop, url = asyncio.get_running_loop(), self._url
        wire_of = partial(_Wire, loop, self._stuck_s)
        async with asyncio.timeout(_STUCK_S):
            if "path" in url:
                _, wire = await loop.create_unix_connection(wire_of, url["path"])
            else:
                host, port = url.get("host", "localhost"), url.get("port", 6379)
                _, wire = await loop.create_connection(wire_of, host, port)
            await self._introduce(wire)
        self._wire = wire
        return wire

    async def _introduce(self, wire: _Wire) -> None:
        """Say who we are and which database we mean."""
        commands: list[Command] = []
        if password := self._url.get("password"):
            username = self._url.get("username")
            commands.append(("AUTH", username, password) if username else ("AUTH", password))
        if database := self._url.get("db"):
            commands.append(("SELECT", database))
        if commands:
            call = _Call(wire.loop.create_future(), len(commands), math.inf)
            wire.send(_packed(commands), call)
            for reply in await call.future:
                if isinstance(reply, hiredis.ReplyError):
                    wire.close()
                    raise StoreUnavailable(f"Redis: {reply}")


def shorter(limit_s: float, within_s: float | None) -> float:
    """A time limit, or what a call has left if that is less."""
    return limit_s if within_s is None else min(limit_s, within_s)


def _packed(commands: Sequence[Command]) -> bytes:
    pack: Any = hiredis.pack_command
    return b"".join(map(pack, commands))


def _heard(task: asyncio.Task[_Wire]) -> None:
    """Its failure is told to whoever still waits; if nobody does, it is no news."""
    if not task.cancelled():
        task.exception()
