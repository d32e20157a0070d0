from __future__ import annotations

import asyncio

import pytest

from service.background import Background


async def test_what_forgets_that_it_was_cancelled_is_told_again() -> None:
    told = 0

    async def forgetful() -> None:
        nonlocal told
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                told += 1
                if told == 2:
                    raise

    background = Background("forgetful")
    background.start(forgetful())
    await asyncio.sleep(0)
    await asyncio.wait_for(background.stop(), 60)
    assert told == 2
    assert not background.running
    await background.stop()


async def test_a_task_that_failed_says_so_when_it_is_stopped() -> None:
    async def fails() -> None:
        raise ZeroDivisionError("inside")

    background = Background("fails")
    background.start(fails())
    await asyncio.sleep(0)
    with pytest.raises(ZeroDivisionError):
        await background.stop()
