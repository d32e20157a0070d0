"""The cross features of `models.encode.CROSS`, one scorer each: pure functions of user state and item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from models.plan import Plan
from retrieval.factors import Factors
from retrieval.neighbours import Neighbours
from service.cascade.candidates import Candidates
from service.cascade.query import Query
from service.cascade.recent import recent_events
from service.catalogue import Catalogue
from service.tables import Gathered

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tower:
    """User vector . item vector."""

    items: Gathered
    name: ClassVar[str] = "tower"
    requires: ClassVar[tuple[str, ...]] = ("user_tower",)
    optional: ClassVar[bool] = False

    def score(self, query: Query, batch: Candidates) -> Floats:
        """Inner products [N]."""
        assert query.state.vector is not None
        return self.items.take(batch.rows) @ query.state.vector


@dataclass(frozen=True, slots=True)
class Interest:
    """Best interest query . item vector."""

    items: Gathered
    name: ClassVar[str] = "interest"
    requires: ClassVar[tuple[str, ...]] = ("user_interests",)
    optional: ClassVar[bool] = False

    def score(self, query: Query, batch: Candidates) -> Floats:
        """Greatest inner products [N]."""
        assert query.state.interests is not None
        return query.state.interests.score(self.items.take(batch.rows))


@dataclass(frozen=True, slots=True)
class SimilarToRecent:
    """Summed similarity to recent events; 0 for an item that is no event's neighbour."""

    neighbours: Neighbours
    plan: Plan
    name: ClassVar[str] = "similar"
    requires: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[bool] = False

    def score(self, query: Query, batch: Candidates) -> Floats:
        """Sums [N]."""
        item_count = len(self.neighbours.rows)
        history, weights = recent_events(query, self.plan, item_count)
        sums = np.zeros(len(batch), np.float32)
        listed = batch.rows < item_count
        sums[listed] = self.neighbours.score_rows(history, weights, batch.rows[listed])
        return sums


@dataclass(frozen=True, slots=True)
class FactorProduct:
    """User factors . item factors; 0 without either."""

    factors: Factors | None
    name: ClassVar[str] = "factors"
    requires: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[bool] = False

    def score(self, query: Query, batch: Candidates) -> Floats:
        """Inner products [N]."""
        products = np.zeros(len(batch), np.float32)
        user = query.state.factors
        if self.factors is not None and user is not None:
            known = batch.rows < len(self.factors.vectors)
            products[known] = self.factors.vectors[batch.rows[known]] @ user
        return products


@dataclass(frozen=True, slots=True)
class Popularity:
    """log1p of the placement's decayed event count."""

    catalogue: Catalogue
    name: ClassVar[str] = "popular"
    requires: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[bool] = False

    def score(self, query: Query, batch: Candidates) -> Floats:
        """Logarithms [N]."""
        return np.log1p(self.catalogue.popularity(query.placement, batch.rows))
