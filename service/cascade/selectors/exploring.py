"""A budget for what is new: a small part of what is kept goes to items that nobody could judge yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from models.masks import some
from service.cascade.candidates import Candidates
from service.cascade.query import Query
from service.cascade.selectors.best import rising
from service.cascade.stages import Selector
from service.catalogue import Catalogue

Positions = NDArray[np.intp]

_DAY_MS = 86_400_000
_WHOLE = 1e-9
"""A share of places so near to a whole number is one."""


@dataclass(frozen=True, slots=True)
class WithFresh:
    """The picks of `inner`, the last of them replaced until fresh items have their share.

    Fresh is what was created within `days` and had no event at the export. The share of `size` is rounded
    by chance, so that it holds on average for short pages, too; the best by the column `by` come in behind
    the others. What fresh items `inner` picks by itself counts. `turn` tells the draws of a cascade's rounds
    apart; `chance` stands for the query's own draw, to see what it might have been.
    """

    inner: Selector
    by: str
    catalogue: Catalogue
    share: float
    days: float
    turn: int = 0
    chance: float | None = None
    requires: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        """The inner selector's."""
        return self.inner.name

    def pick(self, query: Query, batch: Candidates, size: int) -> Positions:
        """At most `size` positions, best first."""
        picked = self.inner.pick(query, batch, size)
        if len(picked) == len(batch):
            return picked
        fresh = self.fresh(query, batch)
        if not some(fresh):
            return picked
        # A generator costs more than looking for fresh items, and mostly there are none.
        has = fresh[picked]
        missing = self._room(query, size) - int(np.count_nonzero(has))
        if missing <= 0:
            return picked
        spare = (~has).nonzero()[0]
        fresh[picked] = False
        left = fresh.nonzero()[0]
        coming = left[np.lexsort((batch.rows[left], rising(batch[self.by][left])))][
            : min(missing, len(spare))
        ]
        stays = np.ones(len(picked), bool)
        stays[spare[len(spare) - len(coming) :]] = False
        return np.concatenate([picked[stays], coming])

    def any(self, query: Query, batch: Candidates) -> bool:
        """Whether there is any fresh item to make room for."""
        return some(self.fresh(query, batch))

    def chance_of_more(self, size: int) -> float:
        """How probable it is that the share of `size` is rounded up; 0 where it is a whole number."""
        part = size * self.share % 1.0
        return 0.0 if min(part, 1 - part) < _WHOLE else part

    def _room(self, query: Query, size: int) -> int:
        if self.chance_of_more(size) == 0.0:
            return round(size * self.share)
        chance = self.chance
        if chance is None:
            seed = (query.seed, query.offset, self.turn) if self.turn else (query.seed, query.offset)
            chance = np.random.default_rng(seed).random()
        return int(size * self.share + _WHOLE + chance * (1 - 2 * _WHOLE))

    def fresh(self, query: Query, batch: Candidates) -> NDArray[np.bool_]:
        """Which of the batch [N] are fresh."""
        since = int(max(query.now_ms - self.days * _DAY_MS, 0.0))
        young: NDArray[np.bool_] = self.catalogue.created[batch.rows] > since
        few = young.nonzero()[0]
        if len(few):
            young[few] = self.catalogue.popularity(query.placement, batch.rows[few]) == 0
        return young
