"""What the user asked not to be shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.cascade.candidates import Candidates
from service.cascade.query import Query
from service.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Muted:
    """Rules out items of muted interests, whichever source found them, unless the query includes them."""

    catalogue: Catalogue
    name: ClassVar[str] = "muted"
    requires: ClassVar[tuple[str, ...]] = ()

    def applies(self, query: Query) -> bool:
        """Where the user muted anything that is to be left out."""
        return query.hides_muted

    def keep(self, query: Query, batch: Candidates) -> NDArray[np.bool_]:
        """True = of no muted interest."""
        return ~np.isin(self.catalogue.clusters_of(batch.rows), query.preferences.muted)
