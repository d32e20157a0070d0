"""From logits to click probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ranking.calibration import Calibration
from service.cascade.candidates import Candidates
from service.cascade.query import Query


@dataclass(frozen=True, slots=True)
class Calibrate:
    """The bundle's calibrator of the placement over the column `rank`; it keeps the order."""

    calibration: Calibration
    name: ClassVar[str] = "pctr"
    requires: ClassVar[tuple[str, ...]] = ("rank",)
    optional: ClassVar[bool] = False

    def score(self, query: Query, batch: Candidates) -> NDArray[np.float32]:
        """Probabilities [N]."""
        return self.calibration.at(query.placement_name)(batch["rank"]).astype(np.float32)
