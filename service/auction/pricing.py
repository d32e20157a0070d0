"""Which click probabilities may be paid for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.bundle import Bundle
from service.cascade.candidates import Candidates

Doubles = NDArray[np.float64]

JUDGES = ("rank", "pctr")
"""Without these stages a score is no probability, and a price made of it would be a lie."""


class Prices(Protocol):
    """Click probabilities for one auction."""

    @property
    def calibration(self) -> str | None:
        """What answers say of it; None = the bundle's own calibrator, and nothing is wrong with it."""

    def __call__(self, batch: Candidates, degraded: Collection[str]) -> Doubles | None:
        """Probabilities [N] of a batch that was ranked, NaN = unknown; None = none that may be paid for.

        `degraded` names the stages whose fallback was taken.
        """


class Pricing(Protocol):
    """Says what to price with; `service.auction.guard` does not trust a calibrator for ever."""

    def at(self, bundle: Bundle, placement: str) -> Prices:
        """The prices at a placement, as of now."""


class _Calibrated:
    calibration = None

    def __call__(self, batch: Candidates, degraded: Collection[str]) -> Doubles | None:
        if "pctr" not in batch.columns or any(stage in degraded for stage in JUDGES):
            return None
        return batch["pctr"].astype(np.float64)


calibrated: Prices = _Calibrated()
"""The column `pctr`, as the bundle's calibrator made it."""


class AsCalibrated:
    """The bundle's own calibrator, always."""

    def at(self, bundle: Bundle, placement: str) -> Prices:
        """The same everywhere."""
        return calibrated
