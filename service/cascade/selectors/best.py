"""Order by a score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from models.masks import every
from retrieval.order import by_keys
from service.cascade.candidates import Candidates
from service.cascade.query import Query


@dataclass(frozen=True, slots=True)
class Best:
    """The best by the column `by`, ties by the columns `then` and at last by row; non-finite scores last.

    If no score is finite, the batch keeps its order.
    """

    by: str
    then: tuple[str, ...] = ()
    requires: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        """Named after the column."""
        return f"best_{self.by}"

    def pick(self, query: Query, batch: Candidates, size: int) -> NDArray[np.intp]:
        """The first `size` positions of the order."""
        keys = [rising(batch[name]) for name in (self.by, *self.then)]
        order = by_keys(*keys, batch.rows)[:size]
        if len(order) and keys[0][order[0]] == np.inf:
            return np.arange(len(order))
        return order


def rising(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sort keys [N] that rise from the best score to the worst, and to those that are not finite."""
    finite = np.isfinite(scores)
    return -scores if every(finite) else -np.where(finite, scores, -np.inf)


@dataclass(frozen=True, slots=True)
class AsTheyCame:
    """The head of the batch."""

    name: ClassVar[str] = "as_they_came"
    requires: ClassVar[tuple[str, ...]] = ()

    def pick(self, query: Query, batch: Candidates, size: int) -> NDArray[np.intp]:
        """The first `size` positions."""
        return np.arange(min(size, len(batch)))


def unpicked(batch: Candidates, picked: NDArray[np.intp], by: str) -> NDArray[np.intp]:
    """Positions that are not among `picked`, best first by the column `by`, ties by row."""
    left = np.ones(len(batch), bool)
    left[picked] = False
    order = by_keys(rising(batch[by]), batch.rows)
    rest: NDArray[np.intp] = order[left[order]]
    return rest
