"""A mix of calls on a server: as fast as it goes, to see where it ends, or as they come, for hours."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

import numpy as np

from benchmarks.mix import Mix
from benchmarks.wire import Wire

_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """When a call was due and how long after that it was answered, in seconds of the loop's clock."""

    due: float
    took: float


class Traffic:
    """Calls of `mix`; `answers` and `failed` (by kind and status, 0 = none came) fill while it goes on."""

    def __init__(self, wire: Wire, mix: Mix) -> None:
        self._wire = wire
        self._mix = mix
        self.answers: list[Answer] = []
        self.failed: Counter[tuple[str, int]] = Counter()

    async def saturate(self, connections: int, seconds: float) -> float:
        """Calls per second when every connection asks again as soon as it has its answer."""
        loop = asyncio.get_running_loop()
        start, before = loop.time(), len(self.answers)

        async def ask() -> None:
            while (now := loop.time()) < start + seconds:
                await self._call(*self._mix.draw(), now)

        await asyncio.gather(*(ask() for _ in range(connections)))
        return (len(self.answers) - before) / (loop.time() - start)

    async def arrive(self, rate: float, seconds: float, seed: int = 3) -> None:
        """Calls come as a Poisson process, whatever becomes of the others; ends when all are answered."""
        rng = np.random.default_rng(seed)
        loop = asyncio.get_running_loop()
        due = start = loop.time()
        calls: set[asyncio.Task[None]] = set()
        while (due := due + rng.exponential(1.0 / rate)) < start + seconds:
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            call = asyncio.create_task(self._call(*self._mix.draw(), due))
            calls.add(call)
            call.add_done_callback(calls.discard)
        await asyncio.gather(*calls)

    async def fill(self, length: int) -> None:
        """Give every user a history, one call after the other."""
        for call in self._mix.histories(length):
            await self._call("event", call, asyncio.get_running_loop().time())

    async def _call(self, kind: str, call: bytes, due: float) -> None:
        status = 0
        try:
            async with asyncio.timeout(_PATIENCE_S):
                status = await self._wire.ask(call)
        except (OSError, EOFError, ValueError, TimeoutError):
            pass
        self.answers.append(Answer(due, asyncio.get_running_loop().time() - due))
        if not 200 <= status < 300:
            self.failed[kind, status] += 1
