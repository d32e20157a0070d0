"""A cut that leaves a page under the caps, and of what is alike not more than later steps can use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ranking.caps import capped
from service.cascade.candidates import Candidates
from service.cascade.query import Query
from service.cascade.room import coded, within
from service.cascade.selectors.best import unpicked
from service.cascade.stages import Selector
from service.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class WithRoom:
    """The picks of `inner`, of which some give way: a page that keeps the caps is always among what is kept.

    Besides, of one value not more is kept than a few pages could take, while there is anything else; it comes
    in best first by the column `by` (None = as it came). So a value that fills the head of a batch does not
    keep all others from the next step. A query without caps is `inner`'s.
    """

    inner: Selector
    by: str | None
    catalogue: Catalogue
    requires: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The inner selector's."""
        return self.inner.name

    def pick(self, query: Query, batch: Candidates, size: int) -> NDArray[np.intp]:
        """At most `size` positions: a page, then what there is room for, then the rest, each best first."""
        picked = self.inner.pick(query, batch, size)
        if not query.caps or len(picked) == len(batch):
            return picked
        rest = (
            np.setdiff1d(np.arange(len(batch)), picked)
            if self.by is None
            else unpicked(batch, picked, self.by)
        )
        order = np.concatenate([picked, rest])
        rows = batch.rows[order]
        last = np.where(within(query, self.catalogue, rows), 1, 2)
        last[capped(coded(query, self.catalogue, rows), len(rows), query.count)] = 0
        return order[np.argsort(last, kind="stable")][:size]
