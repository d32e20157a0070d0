"""Who gets as far as the ranker: all that is known so far, weighed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.cascade.candidates import Candidates
from service.cascade.query import Query


@dataclass(frozen=True, slots=True)
class Cut:
    """Sum of weight x column over some of `models.encode.CROSS` (`plan.cut`); what fell back adds nothing."""

    weights: Mapping[str, float]
    name: ClassVar[str] = "cut"
    requires: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[bool] = False

    def score(self, query: Query, batch: Candidates) -> NDArray[np.float32]:
        """Sums [N]."""
        total = np.zeros(len(batch), np.float32)
        for name, weight in self.weights.items():
            column = batch[name]
            total += np.float32(weight) * np.where(np.isfinite(column), column, np.float32(0.0))
        return total
