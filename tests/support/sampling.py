"""A sampler at work, by a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from service.metrics import Metrics
from service.sampler import Sampler

S = TypeVar("S", bound=Sampler[Any])


def standing() -> float:
    """A clock by which nothing takes any time, so that no rest follows."""
    return 0.0


@asynccontextmanager
async def sampling(
    kind: type[S], share: float = 1.0, clock: Callable[[], float] = standing
) -> AsyncIterator[tuple[S, Metrics]]:
    """One that works until the end, and where its counts are; a test that waits for it in vain fails."""
    metrics = Metrics()
    one = kind(metrics, share, seed=3, clock=clock)
    one.start()
    try:
        async with asyncio.timeout(60):
            yield one, metrics
    finally:
        await one.stop()
