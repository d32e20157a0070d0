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

    def keep(self, query: Query, batch: Candidates) -> NDArray[np.bool_]:
        """True = not seen."""
        if query.include_seen:
            return np.ones(len(batch), bool)
        return ~is_among(batch.rows, query.user.rows)


@dataclass(frozen=True, slots=True)
class Shown:
    """Rules out items of the list's earlier pages."""

    name: ClassVar[str] = "shown"
    requires: ClassVar[tuple[str, ...]] = ()

    def keep(self, query: Query, batch: Candidates) -> NDArray[np.bool_]:
        """True = not on an earlier page."""
        return ~is_among(batch.rows, query.shown)
