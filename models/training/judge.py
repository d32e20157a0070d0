"""Judge a scorer on held-out requests over the whole catalogue, to choose an epoch or a width."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models.training.batches import in_blocks
from models.training.features import Features
from models.training.timeline import Requests

Floats = NDArray[np.float32]

BLOCK = 256
REQUESTS = 3000


@dataclass(frozen=True)
class Kept:
    """The best number of epochs so far, 0 being the start, what validation said, and the weights then."""

    ndcg: float
    epoch: int
    items: dict[str, Tensor]
    users: dict[str, Tensor]


class Judge:
    """Held-out requests, at most `REQUESTS` of them (evenly spread), with their histories encoded once."""

    def __init__(self, features: Features, requests: Requests) -> None:
        if len(requests) > REQUESTS:
            requests = requests.at(np.linspace(0, len(requests) - 1, REQUESTS).astype(np.int64))
        self.requests = requests
        self.batch = features.batch(requests)
        self._seen = features.timeline.seen(requests)

    def ranks(self, scores: Callable[[slice], Floats]) -> NDArray[np.int64]:
        """Rank from 0 of each target among the unseen items; `scores(block)` gives a block's scores [b, m].

        Ties count against the target; a score that is not finite sorts last.
        """
        ranks = []
        for block in in_blocks(len(self.requests), BLOCK):
            values = np.nan_to_num(scores(block), nan=-np.inf, posinf=-np.inf, neginf=-np.inf)
            target = self.requests.target[block]
            own = values[np.arange(len(target)), target]
            for row, seen in enumerate(self._seen[block]):
                values[row, seen] = np.nan
            values[np.arange(len(target)), target] = np.nan
            ranks.append((values >= own[:, None]).sum(axis=1))
        return np.concatenate(ranks) if ranks else np.zeros(0, np.int64)

    def ndcg(self, scores: Callable[[slice], Floats], k: int = 10) -> float:
        """Mean NDCG@k; 0 without requests."""
        ranks = self.ranks(scores)
        return float(np.where(ranks < k, 1 / np.log2(ranks + 2.0), 0.0).mean()) if len(ranks) else 0.0
