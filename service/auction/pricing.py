"""Which click probabilities may be paid for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.cascade.candidates import Candidates

Doubles = NDArray[np.float64]

JUDGES = ("rank", "pctr")
"""Without these stages a score is no probability, and a price made of it would be a lie."""


class Pricing(Protocol):
    """Click probabilities for the auction; the seam for a guard that does not trust a calibrator any more."""

    def __call__(self, batch: Candidates, degraded: Collection[str]) -> Doubles | None:
        """Probabilities [N] of a batch that was ranked, NaN = unknown; None = none that may be paid for.

        `degraded` names the stages whose fallback was taken. A guard may calibrate the column `rank` anew.
        """


def calibrated(batch: Candidates, degraded: Collection[str]) -> Doubles | None:
    """The column `pctr`, as the bundle's calibrator made it."""
    if "pctr" not in batch.columns or any(stage in degraded for stage in JUDGES):
        return None
    return batch["pctr"].astype(np.float64)
