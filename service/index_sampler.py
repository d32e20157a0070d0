"""The recall of the index that serves, measured on the queries that really come."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from retrieval.exact import recalls
from service.bundle import Bundle
from service.cascade.query import UserState
from service.sampler import Sampler

Floats = NDArray[np.float32]


class IndexSampler(Sampler[tuple[Bundle, Floats]]):
    """Asks a small share of real queries again, exactly, and counts what the index found of the best.

    One query of one answer at a time, in a thread beside the answers and on one core: an exact search of a
    million items takes some 30 ms alone, and twice that beside answers on the same core.
    """

    name: ClassVar[str] = "index"

    def offer(self, bundle: Bundle, state: UserState) -> None:
        """An answer was given: perhaps one of its queries is taken; returns at once."""
        if state.interests is None or not self.wants():
            return
        asked = np.flatnonzero(state.interests.weights > 0)
        if len(asked):
            one = asked[self._random.randrange(len(asked))]
            self.take((bundle, state.interests.queries[one : one + 1]))

    async def _measure(self, sample: tuple[Bundle, Floats]) -> None:
        bundle, query = sample
        promise = bundle.index_card.recall
        found = await asyncio.to_thread(recalls, bundle.index, bundle.item_vectors, query, promise.k)
        self._metrics.on_recall(bundle.version, promise.k, promise.stated, float(found[0]))
