"""Where the funnel's scores lie, and how far apart: what a refit changes without meaning anything by it.

Towers and pre-ranker learn which candidate is better than another, so that any constant may be added to all
of their scores. A refit ends at another one, and the ranker, which learned to read the scores of before,
would take the difference for something that it says of clicks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.encode import CROSS
from models.training.funnel import Pool

Doubles = NDArray[np.float64]

REFITTED = ("tower", "interest", "prerank")
"""The columns of `models.encode.CROSS` that trained encoders give; the others are counted."""
_LEAST = 1e-6
"""Of a spread, below which a column is taken for constant."""


@dataclass(frozen=True)
class ScoreLevels:
    """`mean` and `spread` (standard deviation) [X] of each column of `models.encode.CROSS`."""

    mean: Doubles
    spread: Doubles

    @classmethod
    def of(cls, pools: Sequence[Pool], width: int) -> ScoreLevels:
        """Over the best `width` candidates of all requests; zeros without any."""
        cross = [pool.cross[:width] for pool in pools if len(pool.cross)]
        if not cross:
            return cls(np.zeros(len(CROSS)), np.zeros(len(CROSS)))
        found = np.concatenate(cross).astype(np.float64)
        return cls(found.mean(axis=0), found.std(axis=0))

    def moved(self, after: ScoreLevels, mean: Doubles, scale: Doubles) -> tuple[Doubles, Doubles]:
        """What stands for `mean` and `scale` [X] among scores as they are `after`; only `REFITTED` move.

        By the affine map that takes this mean and spread to those of `after` (our choice); a column that is
        constant on either side stays.
        """
        here = np.isin(CROSS, REFITTED) & (self.spread > _LEAST) & (after.spread > _LEAST)
        grown = np.divide(after.spread, self.spread, out=np.ones_like(mean), where=here)
        return np.where(here, after.mean + (mean - self.mean) * grown, mean), scale * grown
