"""What the caller's filter lets through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.cascade.candidates import Candidates
from service.cascade.query import Query


@dataclass(frozen=True, slots=True)
class Rule:
    """Rules out items that the compiled rule of the query does not match."""

    name: ClassVar[str] = "rule"
    requires: ClassVar[tuple[str, ...]] = ()

    def applies(self, query: Query) -> bool:
        """Where there is a rule."""
        return query.rule is not None

    def keep(self, query: Query, batch: Candidates) -> NDArray[np.bool_]:
        """True = the rule matches."""
        assert query.rule is not None
        return query.rule[batch.rows]
