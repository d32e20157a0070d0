"""A page that is drawn from what may be best: in-slate Thompson sampling over the click probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ranking.thompson import MOST, Posterior, compete, slate, slates
from service.cascade.candidates import Candidates
from service.cascade.query import Query
from service.cascade.selectors.best import unpicked
from service.cascade.selectors.diverse import Diverse
from service.catalogue import Catalogue

Positions = NDArray[np.intp]

_DRAW, _SAMPLE = 1, 2


@dataclass(frozen=True, slots=True)
class WithThompson:
    """Slates by `ranking.thompson` over the column `score`, whose factors `posterior` says.

    A query of some diversity draws twice as many, and `inner` picks the page of them (our choice). What
    cannot compete comes last. Where the ranker gave no probability there is nothing to draw: `inner` picks.
    """

    inner: Diverse
    catalogue: Catalogue
    posterior: Posterior
    width: float
    requires: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        """The inner selector's."""
        return self.inner.name

    def draws(self, batch: Candidates) -> bool:
        """Whether the page is left to chance: there are probabilities to doubt."""
        return "pctr" in batch.columns and bool(np.isfinite(batch["pctr"]).any())

    def pick(self, query: Query, batch: Candidates, size: int) -> Positions:
        """At most `size` positions, best first."""
        if not self.draws(batch):
            return self.inner.pick(query, batch, size)
        able, shape = self._game(query, batch, size)
        drawn = slate(batch["score"][able], shape, self._drawn(query, size), _rng(query, _DRAW))
        return self.page(query, batch, able[drawn], size)

    def sample(self, query: Query, batch: Candidates, size: int) -> Positions:
        """What `pick` might have drawn, S times: [S, n] positions, to go through `page`."""
        able, shape = self._game(query, batch, size)
        return able[slates(batch["score"][able], shape, self._drawn(query, size), _rng(query, _SAMPLE))]

    def page(self, query: Query, batch: Candidates, drawn: Positions, size: int) -> Positions:
        """The page of what was drawn."""
        if self.inner.strength(query) > 0:
            drawn = drawn[self.inner.pick(query, batch.take(drawn), size)]
        if len(drawn) >= size:
            return drawn[:size]
        return np.concatenate([drawn, unpicked(batch, drawn, "score")])[:size]

    def _game(self, query: Query, batch: Candidates, size: int) -> tuple[Positions, NDArray[np.float64]]:
        events = self.catalogue.popularity(query.placement, batch.rows)
        shape = self.posterior.shape(events, self.width)
        able = compete(batch["score"], shape, self._drawn(query, size))
        return able, shape[able]

    def _drawn(self, query: Query, size: int) -> int:
        return min(2 * size if self.inner.strength(query) > 0 else size, MOST)


def _rng(query: Query, what: int) -> np.random.Generator:
    return np.random.default_rng((query.seed, query.offset, what))
