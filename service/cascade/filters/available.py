"""What can be had now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.cascade.candidates import Candidates
from service.cascade.query import Query
from service.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Available:
    """Rules out items that are hidden, sold out or deleted in this snapshot of the catalogue."""

    catalogue: Catalogue
    name: ClassVar[str] = "unavailable"
    requires: ClassVar[tuple[str, ...]] = ()

    def applies(self, query: Query) -> bool:
        """Always."""
        return True

    def keep(self, query: Query, batch: Candidates) -> NDArray[np.bool_]:
        """True = available."""
        return self.catalogue.available[batch.rows]
