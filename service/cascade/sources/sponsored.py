"""Items with a bid that suit the user, however seldom the other sources find them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from retrieval.order import descending
from service.cascade.candidates import Candidates
from service.cascade.query import Floats, Query
from service.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Sponsored:
    """The best of `query.ads` by an exact search; bids play no part in it.

    Ads are few beside the items, and which of them may be sold changes with every click, so a scan of their
    vectors is both simpler and more exact than an index over all items.
    """

    catalogue: Catalogue
    size: int
    name: ClassVar[str] = "sponsored"
    requires: ClassVar[tuple[str, ...]] = ()

    def fetch(self, query: Query) -> Candidates:
        """`score` is the best interest query . item; the item's bias where nothing is known of the user."""
        scores = self._scores(query)
        best = descending(scores, query.ads)[: self.size]
        return Candidates.of(query.ads[best], score=scores[best])

    def _scores(self, query: Query) -> Floats:
        vectors = self.catalogue.ad_vectors
        if len(query.ads) < len(vectors):
            vectors = vectors[self.catalogue.ads.at(query.ads)]
        interests = query.state.interests
        if interests is None:
            return np.ascontiguousarray(vectors[:, -1], np.float32)
        best: Floats = (vectors @ interests.queries.T).max(axis=1)
        return best.astype(np.float32)
