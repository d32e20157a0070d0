"""What parent and worker say to each other: JSON lines over a pair of sockets.

The other end's death is the end of the stream, so neither outlives the other unnoticed.

    worker -> parent   ready · failed(error) · scrape(id) · sample(id, text)
    parent -> worker   open (some worker is ready) · collect(id) · metrics(id, text)
"""

from __future__ import annotations

import asyncio
import pickle
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import orjson

from service.bundles import Beginning
from service.settings import Settings

_LONGEST = 64 * 1024 * 1024
"""Bytes of one line: the text of all series is the longest."""
_LENGTH = struct.Struct("!I")


class Link:
    """One end, inside an event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Link:
        """The end of a pair, which is this link's from now on."""
        return cls(*await asyncio.open_unix_connection(sock=end, limit=_LONGEST))

    def send(self, kind: str, **fields: Any) -> None:
        """Say something; an end that is gone hears nothing, and its stream tells so."""
        if not self._writer.is_closing():
            self._writer.write(orjson.dumps({"is": kind, **fields}) + b"\n")

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What the other end says, until it is gone."""
        try:
            while line := await self._reader.readline():
                yield orjson.loads(line)
        except OSError:
            return

    def close(self) -> None:
        """Say nothing more."""
        self._writer.close()


def give_settings(end: socket.socket, settings: Settings, beginning: Beginning) -> None:
    """The first thing that a worker hears: the settings as the parent read them, whatever a file says by now,
    and the bundle to begin with.

    Pickle carries secrets as they are, and only from this parent to its own child.
    """
    content = pickle.dumps((settings, beginning))
    end.sendall(_LENGTH.pack(len(content)) + content)


def take_settings(end: socket.socket) -> tuple[Settings, Beginning]:
    """What `give_settings` sent.

    Raises:
        EOFError: the parent is gone.
    """
    (length,) = _LENGTH.unpack(_exactly(end, _LENGTH.size))
    settings, beginning = pickle.loads(_exactly(end, length))
    assert isinstance(settings, Settings)
    assert isinstance(beginning, Beginning)
    return settings, beginning


def _exactly(end: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = end.recv(size - len(content))
        if not part:
            raise EOFError("the parent is gone")
        content += part
    return content
