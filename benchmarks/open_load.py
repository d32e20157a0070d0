"""An open loop for overload: calls leave when they are due, and what became of each is told apart.

`benchmarks.load` counts what went wrong; here refusals are answers, too, with a latency of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import uvloop
from numpy.typing import NDArray

_CONNECTIONS = 256
"""At most; a call that finds none idle is late, and its latency counts from when it was due."""
_LAST_S = 3.0
"""Answers that have not come so long after the end are lost."""


@dataclass(slots=True)
class Reply:
    """What became of a call: `due` and `took` in seconds; status 0 = nothing came."""

    number: int
    due: float
    took: float = np.nan
    status: int = 0
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Replies:
    """All calls of one load of `seconds`."""

    every: Sequence[Reply]
    seconds: float

    def took_ms(self, *statuses: int) -> NDArray[np.float64]:
        """Latencies of the calls with these statuses."""
        return np.array([reply.took for reply in self.every if reply.status in statuses]) * 1000.0

    def of(self, *statuses: int) -> list[Reply]:
        """The calls with these statuses."""
        return [reply for reply in self.every if reply.status in statuses]


def post(path: str, body: bytes) -> bytes:
    """The bytes of one call."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def open_load(port: int, calls: Sequence[bytes], rate: float, seconds: float, seed: int = 3) -> Replies:
    """Send `calls` in turn as a Poisson process of `rate` per second."""
    return uvloop.run(_Load(port, calls).run(rate, seconds, seed))


def two_loads(
    port: int, loads: Sequence[tuple[Sequence[bytes], float]], seconds: float
) -> tuple[Replies, ...]:
    """Several streams of calls at once, each at its own rate."""

    async def run() -> tuple[Replies, ...]:
        streams = (_Load(port, calls).run(rate, seconds, seed) for seed, (calls, rate) in enumerate(loads, 3))
        return tuple(await asyncio.gather(*streams))

    return uvloop.run(run())


class _Load:
    def __init__(self, port: int, calls: Sequence[bytes]) -> None:
        self.port = port
        self.calls = calls
        self.idle: list[_Connection] = []
        self.waiting: list[Reply] = []
        self.opened = 0

    async def run(self, rate: float, seconds: float, seed: int) -> Replies:
        loop = asyncio.get_running_loop()
        gaps = np.random.default_rng(seed).exponential(1.0 / rate, round(rate * seconds))
        start = loop.time()
        every = [Reply(n, start + due) for n, due in enumerate(np.cumsum(gaps).tolist())]
        for reply in every:
            if (wait := reply.due - loop.time()) > 0:
                await asyncio.sleep(wait)
            self.send(reply)
        end = loop.time() + _LAST_S
        while loop.time() < end and any(not reply.status for reply in every[-5000:]):
            await asyncio.sleep(0.02)
        for connection in self.idle:
            connection.close()
        return Replies(every, seconds)

    def send(self, reply: Reply) -> None:
        if self.idle:
            self.idle.pop().send(reply)
            return
        self.waiting.append(reply)
        if self.opened < _CONNECTIONS:
            self.opened += 1
            task = asyncio.ensure_future(self._open())
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self.port)

    def free(self, connection: _Connection) -> None:
        if self.waiting:
            connection.send(self.waiting.pop(0))
        else:
            self.idle.append(connection)


@dataclass(eq=False)
class _Connection(asyncio.Protocol):
    load: _Load
    reply: Reply | None = None
    buffer: bytearray = field(default_factory=bytearray)
    transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.load.free(self)

    def send(self, reply: Reply) -> None:
        assert self.transport is not None
        self.reply = reply
        self.transport.write(self.load.calls[reply.number % len(self.load.calls)])

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0 or self.reply is None:
            return
        head = bytes(self.buffer[:end]).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(self.buffer) < end + 4 + length:
            return
        reply, self.reply = self.reply, None
        reply.took = asyncio.get_running_loop().time() - reply.due
        reply.status = int(head[9:12])
        reply.body = bytes(self.buffer[end + 4 :])
        self.buffer.clear()
        if b"connection: close" not in head:
            self.load.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.opened -= 1
        if self in self.load.idle:
            self.load.idle.remove(self)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()
