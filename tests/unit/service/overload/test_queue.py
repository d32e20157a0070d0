from __future__ import annotations

import asyncio

import pytest

from service.overload.queue import Queue


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_whoever_is_alone_does_not_wait() -> None:
    queue = Queue(Clock())
    for _ in range(3):
        assert await asyncio.wait_for(queue.turn(), 5) == 0.0
        await asyncio.sleep(0.001)


async def test_turns_are_taken_in_order_and_the_loop_lives_between_them() -> None:
    clock = Clock()
    queue, order, read = Queue(clock), [], []
    loop = asyncio.get_running_loop()

    async def compute(number: int) -> float:
        waited = await queue.turn()
        order.append(number)
        clock.now += 0.01
        # What a socket would bring while we compute.
        loop.call_soon(read.append, len(order))
        return waited

    waits = await asyncio.gather(*map(compute, range(5)))
    assert order == list(range(5))
    assert waits == pytest.approx([0.0, 0.0, 0.01, 0.02, 0.03])
    assert read == [1, 2, 3, 4, 5]
    assert len(queue) == 0


async def test_the_pace_is_the_time_between_turns() -> None:
    clock = Clock()
    queue = Queue(clock)

    async def compute() -> None:
        await queue.turn()
        clock.now += 0.004

    for _ in range(20):
        await asyncio.gather(*(compute() for _ in range(5)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert queue.pace_s == pytest.approx(0.004, rel=0.05)


async def test_who_leaves_the_line_loses_nobody_s_turn() -> None:
    queue, done = Queue(Clock()), []

    async def compute(number: int) -> None:
        await queue.turn()
        done.append(number)

    tasks = [asyncio.create_task(compute(number)) for number in range(6)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    tasks[3].cancel()
    tasks[5].cancel()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert done == [0, 1, 4]
    await asyncio.wait_for(queue.turn(), 5)
