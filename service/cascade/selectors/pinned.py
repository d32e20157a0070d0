"""A pin that shows: whatever is kept holds some items of every pinned interest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from service.cascade.candidates import Candidates
from service.cascade.query import Query
from service.cascade.selectors.best import unpicked
from service.cascade.stages import Selector
from service.catalogue import Catalogue

Positions = NDArray[np.intp]

MOST = 0.5
"""Pins take at most this part of what is kept."""


@dataclass(frozen=True, slots=True)
class WithPinned:
    """The picks of `inner`, the last of them replaced where a pinned interest has less than its share.

    Its share is that of the mixture, rounded down, but at least one item (our choice). Missing items come
    in by the column `by`, behind the others; a query without pins is `inner`'s alone.
    """

    inner: Selector
    by: str
    catalogue: Catalogue
    requires: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        """The inner selector's."""
        return self.inner.name

    def pick(self, query: Query, batch: Candidates, size: int) -> Positions:
        """At most `size` positions, best first."""
        picked = self.inner.pick(query, batch, size)
        quotas = _quotas(query, size)
        if not quotas or len(picked) == len(batch):
            return picked
        clusters = self.catalogue.clusters_of(batch.rows)
        order = unpicked(batch, picked, self.by)
        missing = [
            order[clusters[order] == cluster][: max(0, quota - np.count_nonzero(clusters[picked] == cluster))]
            for cluster, quota in quotas.items()
        ]
        return exchanged(picked, np.concatenate(missing), np.isin(clusters[picked], list(quotas)), order)


def _quotas(query: Query, size: int) -> dict[int, int]:
    """How many of `size` each pinned cluster holds at least, the latest pins first, until `MOST` is full."""
    interests = query.state.interests
    if interests is None or len(query.preferences.pinned) == 0:
        return {}
    share = dict(zip(interests.clusters.tolist(), interests.weights.tolist(), strict=True))
    room, quotas = int(size * MOST), {}
    for cluster in query.preferences.pinned.tolist():
        if cluster in share and room > 0:
            quotas[cluster] = min(max(1, int(size * share[cluster])), room)
            room -= quotas[cluster]
    return quotas


def exchanged(
    picked: Positions, missing: Positions, pinned: NDArray[np.bool_], order: Positions
) -> Positions:
    """`picked` without its last ones that are not `pinned`, then as many of `missing`, in `order`."""
    loose = np.flatnonzero(~pinned)
    count = min(len(missing), len(loose))
    coming = order[np.isin(order, missing[:count])]
    return np.concatenate([np.delete(picked, loose[len(loose) - count :]), coming])
