"""The final score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.cascade.candidates import Candidates
from service.cascade.query import Query

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Boost:
    """The column `base`, a non-negative score, times the caller's factors.

    Where no base is finite (its stage fell back), 1 / (1 + place in the previous order) stands for it, so
    that factors still work; a single one that is not finite counts 0.
    """

    base: str
    name: ClassVar[str] = "score"
    requires: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[bool] = False

    def score(self, query: Query, batch: Candidates) -> Floats:
        """Boosted scores [N]."""
        base: Floats = batch[self.base]
        finite = np.isfinite(base)
        if not finite.any():
            base = (1.0 / (1.0 + np.arange(len(batch)))).astype(np.float32)
        elif not finite.all():
            base = np.where(finite, base, np.float32(0.0))
        return base * (np.float32(1.0) if query.boost is None else query.boost[batch.rows])
