"""What the caller rules out by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.cascade.candidates import Candidates
from service.cascade.membership import is_among
from service.cascade.query import Query


@dataclass(frozen=True, slots=True)
class Excluded:
    """Rules out `exclude_items`, and the item that a similar list starts from."""

    name: ClassVar[str] = "excluded"
    requires: ClassVar[tuple[str, ...]] = ()

    def applies(self, query: Query) -> bool:
        """Where anything is excluded."""
        return len(query.exclude) > 0 or query.anchor is not None

    def keep(self, query: Query, batch: Candidates) -> NDArray[np.bool_]:
        """True = not excluded."""
        keep = ~is_among(batch.rows, query.exclude)
        return keep if query.anchor is None else keep & (batch.rows != query.anchor)


@dataclass(frozen=True, slots=True)
class OwnItems:
    """Rules out what the user sells or made."""

    name: ClassVar[str] = "own"
    requires: ClassVar[tuple[str, ...]] = ()

    def applies(self, query: Query) -> bool:
        """Where the user has items of his own."""
        return len(query.own) > 0

    def keep(self, query: Query, batch: Candidates) -> NDArray[np.bool_]:
        """True = not his own."""
        return ~is_among(batch.rows, query.own)
