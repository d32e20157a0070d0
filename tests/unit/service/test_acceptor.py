from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from service.acceptor import _MOMENT_S, Acceptor, Board


class Connection(asyncio.Protocol):
    every: set[Connection]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.every.add(self)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


def protocol() -> tuple[type[Connection], set[Connection]]:
    every: set[Connection] = set()
    return type("Mine", (Connection,), {"every": every}), every


async def clients(listener: socket.socket, count: int) -> list[socket.socket]:
    return [socket.create_connection(listener.getsockname()) for _ in range(count)]


async def until(every: set[Connection], count: int) -> None:
    async with asyncio.timeout(60):
        while len(every) < count:
            await asyncio.sleep(0.001)


async def end(acceptor: Acceptor, every: set[Connection], callers: list[socket.socket]) -> None:
    acceptor.close()
    await acceptor.wait_closed()
    for connection in every:
        connection.transport.close()
    for caller in callers:
        caller.close()
    await asyncio.sleep(0)


async def test_all_that_wait_are_taken_in_one_turn_of_the_loop(listener: socket.socket) -> None:
    made, every = protocol()
    callers = await clients(listener, 20)
    acceptor = Acceptor(listener, made, every)
    turns = 0
    async with asyncio.timeout(60):
        while len(every) < 20:
            await asyncio.sleep(0)
            turns += 1
    assert turns < 10
    await end(acceptor, every, callers)


async def test_who_has_more_leaves_the_next_to_the_others_and_takes_it_if_nobody_does(
    listener: socket.socket,
) -> None:
    made, every = protocol()
    board = Board.of(3)
    board.write(1, 1)  # has one; the third is absent and counts for nothing
    acceptor = Acceptor(listener, made, every, board, 0)
    callers = await clients(listener, 2)
    await until(every, 2)
    assert board.least(99) == 1
    # With two it has more than the other: it waits, and the other does not come.
    came = time.monotonic()
    callers += await clients(listener, 1)
    await until(every, 3)
    assert time.monotonic() - came >= _MOMENT_S
    board.leave(1)
    callers += await clients(listener, 10)
    await until(every, 13)
    assert board.least(99) == 13
    await end(acceptor, every, callers)
    assert board.least(99) == 99


async def test_after_the_end_nothing_is_taken(listener: socket.socket) -> None:
    made, every = protocol()
    acceptor = Acceptor(listener, made, every)
    await end(acceptor, every, [])
    callers = await clients(listener, 2)
    await asyncio.sleep(0.02)
    assert every == set()
    for caller in callers:
        caller.close()
