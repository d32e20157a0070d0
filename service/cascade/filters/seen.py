"""Nothing twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.cascade.candidates import Candidates
from service.cascade.membership import is_among
from service.cascade.query import Query


@dataclass(frozen=True, slots=True)
class Seen:
    """Rules out items of the user's events, unless the query includes them."""

    name: ClassVar[str] = "seen"
    requires: ClassVar[tuple[str, ...]] = ()

    def applies(self, query: Query) -> bool:
        """Unless the query includes what was seen."""
        return not query.include_seen and len(query.user.rows) > 0

    def keep(self, query: Query, batch: Candidates) -> NDArray[np.bool_]:
        """True = not seen."""
        return ~is_among(batch.rows, query.user.rows)


@dataclass(frozen=True, slots=True)
class Shown:
    """Rules out items of the list's earlier pages."""

    name: ClassVar[str] = "shown"
    requires: ClassVar[tuple[str, ...]] = ()

    def applies(self, query: Query) -> bool:
        """Behind the first page."""
        return len(query.shown) > 0

    def keep(self, query: Query, batch: Candidates) -> NDArray[np.bool_]:
        """True = not on an earlier page."""
        return ~is_among(batch.rows, query.shown)
