"""The final score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from models.masks import every, some
from service.cascade.candidates import Candidates
from service.cascade.query import Query

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Boost:
    """The column `base`, a non-negative score, times the caller's factors.

    Without a base, or where none of its values is finite (its stage fell back), 1 / (1 + place in the
    previous order) stands for it, so that factors still work; a single one that is not finite counts 0.
    """

    base: str | None = None
    name: ClassVar[str] = "score"
    requires: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[bool] = False

    def score(self, query: Query, batch: Candidates) -> Floats:
        """Boosted scores [N]."""
        base = self._base(batch)
        return base if query.boost is None else base * query.boost[batch.rows]

    def _base(self, batch: Candidates) -> Floats:
        if self.base is not None:
            base: Floats = batch[self.base]
            finite = np.isfinite(base)
            if every(finite):
                return base
            if some(finite):
                return np.where(finite, base, np.float32(0.0))
        return np.float32(1.0) / np.arange(1, len(batch) + 1, dtype=np.float32)
