"""The recall of the index that serves, measured on the queries that really come."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from retrieval.exact import recalls
from service.background import Background
from service.bundle import Bundle
from service.cascade.query import UserState
from service.metrics import Metrics

_log = logging.getLogger("cascada.index")
_REST = 199.0
"""So many times as long as the last query took nothing is asked: at most 0.5% of a core, however large the
catalogue is and however many answers there are."""

Floats = NDArray[np.float32]


class IndexSampler:
    """Asks a small share of real queries again, exactly, and counts what the index found of the best.

    One query of one answer at a time, in a thread beside the answers and on one core: an exact search of a
    million items takes some 30 ms alone, and twice that beside answers on the same core. What comes
    meanwhile, and in the rest after it, is left out.
    """

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
        self._queue: asyncio.Queue[tuple[Bundle, Floats]] = asyncio.Queue(1)
        self._background = Background("index-sampler")

    def start(self) -> None:
        """Begin to wait for queries."""
        if self._share:
            self._background.start(self._work())

    def offer(self, bundle: Bundle, state: UserState) -> None:
        """An answer was given: perhaps one of its queries is taken; returns at once."""
        if self._random.random() >= self._share or state.interests is None:
            return
        if self._clock() < self._rests_until:
            return
        asked = np.flatnonzero(state.interests.weights > 0)
        if len(asked):
            one = asked[self._random.randrange(len(asked))]
            self._rests_until = math.inf
            self._queue.put_nowait((bundle, state.interests.queries[one : one + 1]))

    async def flush(self) -> None:
        """Wait until what was taken before is counted."""
        await self._queue.join()

    async def stop(self) -> None:
        """Leave what is not measured yet."""
        await self._background.stop()

    async def _work(self) -> None:
        while True:
            bundle, query = await self._queue.get()
            begun = self._clock()
            try:
                await self._measure(bundle, query)
            except Exception as error:  # a metric must never end the service, nor its own task
                _log.warning("the recall of the index was not measured", exc_info=error)
            finally:
                ended = self._clock()
                self._rests_until = ended + _REST * (ended - begun)
                self._queue.task_done()

    async def _measure(self, bundle: Bundle, query: Floats) -> None:
        promise = bundle.index_card.recall
        found = await asyncio.to_thread(recalls, bundle.index, bundle.item_vectors, query, promise.k)
        self._metrics.on_recall(bundle.version, promise.k, promise.stated, float(found[0]))
