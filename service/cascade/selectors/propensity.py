"""How probable a page was: what off-policy evaluation weighs its clicks by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ranking.thompson import propensities
from service.cascade.candidates import Candidates
from service.cascade.query import Query
from service.cascade.selectors.exploring import WithFresh
from service.cascade.selectors.thompson import WithThompson
from service.cascade.stages import Selector

Positions = NDArray[np.intp]
Floats = NDArray[np.float32]

REPEATS = 32
"""Pages that are made anew where each has to go through pins, caps, diversity and fresh places."""
_REPEAT = 3


@dataclass(frozen=True, slots=True)
class Propensity:
    """The chance of each item at its own place, over all that is left to chance, given the candidates.

    `page(inner, fresh)` puts together the selectors around an innermost one and a share of fresh items; they
    are the round's own with `inner` and `fresh`. The rounding of fresh places is told exactly, from its two
    outcomes; draws by sampling (`ranking.thompson.propensities`).
    """

    page: Callable[[Selector, WithFresh | None], Selector]
    inner: Selector
    fresh: WithFresh | None
    name: ClassVar[str] = "propensity"
    requires: ClassVar[tuple[str, ...]] = ()

    def chances(self, query: Query, batch: Candidates, picked: Positions) -> Floats | None:
        """[n] of the `picked`, each above 0; None = nothing was left to chance."""
        fresh = self.fresh
        drawn = self.inner if isinstance(self.inner, WithThompson) and self.inner.draws(batch) else None
        more = 0.0 if fresh is None else fresh.chance_of_more(query.count)
        if drawn is None and more == 0.0:
            return None
        if fresh is not None and not fresh.any(query, batch):
            fresh = None
        if drawn is not None:
            return self._sampled(drawn, query, batch, picked, fresh)
        if fresh is None:
            return None
        few, many = (
            self.page(self.inner, replace(fresh, chance=chance)).pick(query, batch, query.count)
            for chance in (0.0, np.nextafter(1.0, 0.0))
        )
        both = np.array([1 - more, more]) @ np.stack([_same(few, picked), _same(many, picked)])
        return np.asarray(both, np.float32)

    def _sampled(
        self,
        inner: WithThompson,
        query: Query,
        batch: Candidates,
        picked: Positions,
        fresh: WithFresh | None,
    ) -> Floats:
        drawn = inner.sample(query, batch, query.count)
        plain = inner.inner.strength(query) == 0 and drawn.shape[1] >= len(picked)
        if plain and fresh is None and not query.caps and len(query.preferences.pinned) == 0:
            return propensities(picked, drawn)
        luck = np.random.default_rng((query.seed, query.offset, _REPEAT)).random(REPEATS)
        again = np.full((REPEATS, len(picked)), -1, np.intp)
        for row, chance in enumerate(luck.tolist()):
            given = _Given(inner.page(query, batch, drawn[row], query.count))
            share = None if fresh is None else replace(fresh, chance=chance)
            page = self.page(given, share).pick(query, batch, query.count)[: len(picked)]
            again[row, : len(page)] = page
        return propensities(picked, again)


@dataclass(frozen=True, slots=True)
class _Given:
    """These positions."""

    positions: Positions
    name: ClassVar[str] = "given"
    requires: ClassVar[tuple[str, ...]] = ()

    def pick(self, query: Query, batch: Candidates, size: int) -> Positions:
        """The positions, cut."""
        return self.positions[:size]


def _same(page: Positions, picked: Positions) -> NDArray[np.bool_]:
    """Whether each place of `picked` [n] holds the same in another page."""
    count = min(len(page), len(picked))
    same = np.zeros(len(picked), bool)
    same[:count] = page[:count] == picked[:count]
    return same
