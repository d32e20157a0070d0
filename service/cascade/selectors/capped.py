"""A page that keeps the caps: of what is alike only so many in a window of places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ranking.caps import capped
from retrieval.order import by_keys
from service.cascade.candidates import Candidates
from service.cascade.query import Query
from service.cascade.room import coded
from service.cascade.selectors.best import rising
from service.cascade.stages import Selector
from service.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class WithCaps:
    """The picks of `inner`, then the others by the column `by`, as far as the query's caps allow.

    Caps are never broken: where nothing may follow the page is short. A query without caps is `inner`'s.
    """

    inner: Selector
    by: str
    catalogue: Catalogue
    requires: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The inner selector's."""
        return self.inner.name

    def pick(self, query: Query, batch: Candidates, size: int) -> NDArray[np.intp]:
        """At most `size` positions, best first."""
        picked = self.inner.pick(query, batch, size)
        if not query.caps:
            return picked
        rest = np.ones(len(batch), bool)
        rest[picked] = False
        order = by_keys(rising(batch[self.by]), batch.rows)
        order = np.concatenate([picked, order[rest[order]]])
        return order[capped(coded(query, self.catalogue, batch.rows[order]), len(order), size)]
