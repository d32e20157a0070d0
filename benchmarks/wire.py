"""HTTP over kept connections to a server on this machine, as lean as a load generator must be."""

from __future__ import annotations

import asyncio
import re

IDLE_S = 2.0
"""Longest rest of a connection; uvicorn's servers allow 5 s."""
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """A whole HTTP/1.1 request with a JSON body."""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
    return f"{head}{len(body)}\r\n\r\n".encode() + body


class Wire:
    """Connections to one port; when all are busy there will be one more."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[float, _Connection]] = []
        self.connections = 0
        """How many are open."""

    async def ask(self, call: bytes) -> int:
        """Send a request and read its answer to the end; the status.

        Raises:
            OSError, EOFError, ValueError: there was no answer, or none that can be read.
        """
        self._drop_old()
        reader, writer = self._idle.pop()[1] if self._idle else await self._connect()
        try:
            writer.write(call)
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            length = _LENGTH.search(head)
            if length is None and status != 204:
                raise ValueError("an answer without a length")
            await reader.readexactly(int(length[1]) if length else 0)
        except BaseException:
            self.connections -= 1
            writer.close()
            raise
        self._idle.append((asyncio.get_running_loop().time(), (reader, writer)))
        return status

    def close(self) -> None:
        """Close the connections that are not in use."""
        for _, (_, writer) in self._idle:
            writer.close()
        self.connections -= len(self._idle)
        self._idle.clear()

    def _drop_old(self) -> None:
        """A server closes connections that nobody uses; a call may not meet one that is just being closed."""
        eldest = asyncio.get_running_loop().time() - IDLE_S
        # The one used last is taken first, so the oldest lie in front.
        old = next((i for i, (since, _) in enumerate(self._idle) if since > eldest), len(self._idle))
        for _, (_, writer) in self._idle[:old]:
            writer.close()
        self.connections -= old
        del self._idle[:old]

    async def _connect(self) -> _Connection:
        found = await asyncio.open_connection("127.0.0.1", self._port)
        self.connections += 1
        return found
