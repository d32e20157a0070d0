"""A budget for what is new: a small part of what is kept goes to items that nobody could judge yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.cascade.candidates import Candidates
from service.cascade.query import Query
from service.cascade.selectors.best import unpicked
from service.cascade.selectors.pinned import exchanged
from service.cascade.stages import Selector
from service.catalogue import Catalogue

Positions = NDArray[np.intp]

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class WithFresh:
    """The picks of `inner`, the last of them replaced until fresh items have their share.

    Fresh is what was created within `days` and had no event at the export. The share of `size` is rounded
    by chance, so that it holds on average for short pages, too; the best by the column `by` come in behind
    the others. What fresh items `inner` picks by itself counts.
    """

    inner: Selector
    by: str
    catalogue: Catalogue
    share: float
    days: float
    requires: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        """The inner selector's."""
        return self.inner.name

    def pick(self, query: Query, batch: Candidates, size: int) -> Positions:
        """At most `size` positions, best first."""
        picked = self.inner.pick(query, batch, size)
        room = self._room(query, size)
        if room == 0 or len(picked) == len(batch):
            return picked
        fresh = self._fresh(query, batch)
        missing = room - int(np.count_nonzero(fresh[picked]))
        if missing <= 0:
            return picked
        order = unpicked(batch, picked, self.by)
        return exchanged(picked, order[fresh[order]][:missing], fresh[picked], order)

    def _room(self, query: Query, size: int) -> int:
        chance = np.random.default_rng((query.seed, query.offset)).random()
        return int(size * self.share + chance)

    def _fresh(self, query: Query, batch: Candidates) -> NDArray[np.bool_]:
        since = query.now_ms - self.days * _DAY_MS
        young = self.catalogue.created[batch.rows] > max(since, 0.0)
        unheard: NDArray[np.bool_] = self.catalogue.popularity(query.placement, batch.rows) == 0
        return young & unheard
