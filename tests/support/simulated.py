"""A small simulated world with planted interests, ready for trainers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from models.data.simulator import simulate
from models.data.splits import Split, leave_last_out
from models.data.vocabulary import build_schema
from models.training.features import Features
from models.training.judge import Judge
from models.training.timeline import Requests

HISTORY = 20


@dataclass(frozen=True)
class SimulatedWorld:
    """Features of the world, its split, and the requests that validation and test make of it."""

    features: Features
    split: Split
    validation: Requests
    test: Requests

    def popularity_ndcg(self, requests: Requests) -> float:
        """NDCG@10 of listing what most training events are of."""
        items = self.features.dataset.event_item[self.split.train]
        counts = np.bincount(items, minlength=self.features.dataset.items).astype(np.float32)
        return Judge(self.features, requests).ndcg(
            lambda block: np.tile(counts, (block.stop - block.start, 1))
        )

    def ndcg(self, requests: Requests, queries: NDArray[np.float32], items: NDArray[np.float32]) -> float:
        """NDCG@10 of the best inner product of queries [R, d] or [R, K, d] with items [m, d]."""
        queries = queries if queries.ndim == 3 else queries[:, None]
        return Judge(self.features, requests).ndcg(lambda block: (queries[block] @ items.T).max(axis=1))


@cache
def simulated_world() -> SimulatedWorld:
    """300 users, 120 items, about 9,000 training events."""
    dataset, _ = simulate(users=300, items=120, seed=2, sessions=6.0)
    split = leave_last_out(dataset)
    features = Features.of(dataset, build_schema(dataset, split.train, history_length=HISTORY))
    requests = features.timeline.requests
    return SimulatedWorld(features, split, requests(split.validation), requests(split.test))
