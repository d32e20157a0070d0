"""A small share of answers, measured once more beside those that follow."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Generic, TypeVar

from service.background import Background
from service.metrics import Metrics

_log = logging.getLogger("cascada.samples")
_REST = 199.0
"""So many times as long as the last sample took nothing is taken: at most 0.5% of a core, however dear a
sample is and however many answers there are."""

T = TypeVar("T")


class Sampler(ABC, Generic[T]):
    """Takes one sample T at a time; what comes meanwhile, and in the rest after it, is left out.

    A sample that cannot be measured is logged and counted, and ends nothing.
    """

    name: ClassVar[str]
    """What is sampled, in logs and metrics."""

    def __init__(
        self,
        metrics: Metrics,
        share: float,
        seed: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._share = share
        self._random = random.Random(seed)
        self._clock = clock
        self._rests_until = -math.inf
        self._queue: asyncio.Queue[T] = asyncio.Queue(1)
        self._background = Background(f"{self.name}-sampler")

    def start(self) -> None:
        """Begin to wait for samples."""
        if self._share:
            self._background.start(self._work())

    def wants(self) -> bool:
        """Whether this answer falls into the share, and there is time for one."""
        return self._random.random() < self._share and self._clock() >= self._rests_until

    def take(self, sample: T) -> None:
        """Measure this one, unless another was taken since `wants`; returns at once."""
        if self._clock() >= self._rests_until:
            self._rests_until = math.inf
            self._queue.put_nowait(sample)

    async def flush(self) -> None:
        """Wait until what was taken before is counted."""
        await self._queue.join()

    async def stop(self) -> None:
        """Leave what is not measured yet."""
        await self._background.stop()

    @abstractmethod
    async def _measure(self, sample: T) -> None:
        """Count it; what takes time is done in a thread beside the answers."""

    async def _work(self) -> None:
        while True:
            sample = await self._queue.get()
            begun = self._clock()
            try:
                await self._measure(sample)
            except Exception as error:  # a metric must never end the service, nor its own task
                self._metrics.sample_failures.labels(self.name).inc()
                _log.warning("a sample of the %s was not measured", self.name, exc_info=error)
            finally:
                del sample  # a bundle that is no longer served must not stay for the sake of its last sample
                ended = self._clock()
                self._rests_until = ended + _REST * (ended - begun)
                self._queue.task_done()
