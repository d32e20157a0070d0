"""A source that is asked for more where what it found is of few values that the query caps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ranking.caps import capped
from retrieval.order import descending
from service.cascade.candidates import Candidates
from service.cascade.membership import is_among
from service.cascade.query import Query, Rows
from service.cascade.room import SLACK, coded, most_of, within
from service.cascade.stages import Source
from service.catalogue import Catalogue

MOST_AGAIN = 3
"""A source is asked at most so many times more, each time without values of which enough was found."""


@dataclass(frozen=True, slots=True)
class Wider:
    """`inner`, and where caps leave too little of what it found, again under a rule without those values.

    Whoever answers under a rule finds what passes it however rare that is, so no width has to grow. A query
    without caps is `inner`'s.
    """

    inner: Source
    catalogue: Catalogue

    @property
    def name(self) -> str:
        """The inner source's."""
        return self.inner.name

    @property
    def requires(self) -> tuple[str, ...]:
        """The inner source's."""
        return self.inner.requires

    def fetch(self, query: Query) -> Candidates:
        """What was found each time; scores are the inner source's."""
        found = self.inner.fetch(query)
        if not query.caps:
            return found
        rule = np.ones(len(self.catalogue), bool) if query.rule is None else query.rule
        for _ in range(MOST_AGAIN):
            rows = found.rows[descending(found["score"], found.rows)]
            page = rows[capped(coded(query, self.catalogue, rows), len(rows), query.count)]
            room = np.count_nonzero(within(query, self.catalogue, rows))
            full = self._full(query, rows, page)
            if (len(page) == query.count and room >= SLACK * query.count) or not (full & rule).any():
                break
            rule = rule & ~full
            more = self.inner.fetch(replace(query, rule=rule))
            more = more.take(~is_among(more.rows, found.rows))
            if not len(more):
                break
            found = _joined(found, more)
        return found

    def _full(self, query: Query, rows: Rows, page: Rows) -> NDArray[np.bool_]:
        """Which items [M] have a value that leaves no room for another, by what was found and its page."""
        full = np.zeros(len(self.catalogue), bool)
        for cap in query.caps:
            # A window frees its values again, so what was found of them is enough only if it fills them all.
            placed = np.concatenate([query.before, page]) if cap.window is None else rows
            counts = self.catalogue.counts(cap.field, placed)
            enough = most_of(cap, query.count)
            values = [value for value, count in counts.items() if count >= enough]
            full[self.catalogue.holding(cap.field, values)] = True
        return full


def _joined(one: Candidates, other: Candidates) -> Candidates:
    columns = {name: np.concatenate([values, other[name]]) for name, values in one.columns.items()}
    return Candidates.of(np.concatenate([one.rows, other.rows]), **columns)
