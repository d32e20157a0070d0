"""Takes connections from the listening socket, which several workers may share.

The event loop by itself takes one connection in a turn, and a turn may hold a whole answer: where every call
brings its own connection, calls would wait where nobody counts them, instead of being refused. Here a turn
takes all that wait. Where workers share the socket, whoever wakes first could take a whole burst, and
connections stay where they are; so a worker that has more than another leaves the next one to the others for
a moment, and takes it only if nobody else did.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
from collections.abc import Callable, Collection

_MOMENT_S = 0.003
"""How long a connection is left to workers who have fewer, times how many fewer; they may be in the middle of
an answer, or wait for a core."""
_PATIENCE_S = 0.05
_BURST = 32
"""Connections taken in one turn of the event loop, at most."""
_ABSENT = -1


class Board:
    """How many connections each worker has, in memory that all see; workers that take none are absent.

    A number is written by its owner alone, and by the parent once the owner has ended.
    """

    def __init__(self, fd: int, places: int) -> None:
        self.fd = fd
        os.ftruncate(fd, 8 * places)
        self._counts = memoryview(mmap.mmap(fd, 8 * places)).cast("q")

    @classmethod
    def of(cls, places: int) -> Board:
        """A new one, with everybody absent."""
        board = cls(os.memfd_create("cascada-board"), places)
        for place in range(places):
            board.leave(place)
        return board

    def write(self, place: int, count: int) -> None:
        """The worker in this place has so many connections, and takes more."""
        self._counts[place] = count

    def leave(self, place: int) -> None:
        """The worker in this place takes no connections."""
        self._counts[place] = _ABSENT

    def least(self, count: int) -> int:
        """The least number of connections of any worker; `count` if there is none."""
        return min((one for one in self._counts if one != _ABSENT), default=count)


class Acceptor:
    """Accepts from `listener` until it is closed; `connections` are those that this worker has."""

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        connections: Collection[object],
        board: Board | None = None,
        place: int = 0,
    ) -> None:
        self._listener = listener
        self._protocol = protocol
        self._connections = connections
        self._board = board
        self._place = place
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._opening: set[asyncio.Task[object]] = set()
        listener.setblocking(False)
        self._write()
        self._loop.add_reader(listener, self._on_readable)

    def close(self) -> None:
        """Take no more."""
        self._loop.remove_reader(self._listener)
        if self._pause is not None:
            self._pause.cancel()
        if self._board is not None:
            self._board.leave(self._place)

    async def wait_closed(self) -> None:
        """For `uvicorn.Server`: what was accepted is open."""
        if self._opening:
            await asyncio.wait(self._opening)

    def _on_readable(self) -> None:
        for _ in range(_BURST):
            more = 0 if self._board is None else self._write() - self._board.least(0)
            if more > 0:
                self._leave_it(min(_PATIENCE_S, _MOMENT_S * more))
                return
            if not self._take():
                return

    def _leave_it(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._take()
        self._loop.add_reader(self._listener, self._on_readable)

    def _take(self) -> bool:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError:  # out of descriptors: those who wait may find a place later
            self._leave_it(_PATIENCE_S)
            return False
        connection.setblocking(False)
        task: asyncio.Task[object] = self._loop.create_task(
            self._loop.connect_accepted_socket(self._protocol, connection)
        )
        self._opening.add(task)
        task.add_done_callback(self._opened)
        return True

    def _opened(self, task: asyncio.Task[object]) -> None:
        self._opening.discard(task)
        if not task.cancelled():
            task.exception()  # a client that left at once is no news
        self._write()

    def _write(self) -> int:
        count = len(self._connections) + len(self._opening)
        if self._board is not None:
            self._board.write(self._place, count)
        return count
