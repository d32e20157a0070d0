"""What the user's interests find in the vector index."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from retrieval.index import IndexSettings, VectorIndex, build_index
from retrieval.interests import Interests
from retrieval.search import Retrieved, retrieve
from service.cascade.candidates import Candidates
from service.cascade.eligible import barred, eligible
from service.cascade.query import Query, Rows
from service.catalogue import Catalogue

EXACT = 20_000
"""A rule that leaves at most so many items is answered by exact search among them."""
MOST_MORE = 10
"""With a wider rule the index is asked for at most this many times more."""
_NEW_SHARE = 0.1
_DEEPER = 4
"""Where what is muted fills even twice the list, it is asked for so many times more (our choice)."""


@dataclass(frozen=True, slots=True)
class InterestSearch:
    """kNN-Embed: one batched search with all interest queries, and an exact one among newer items."""

    index: VectorIndex
    catalogue: Catalogue
    size: int
    name: ClassVar[str] = "interests"
    requires: ClassVar[tuple[str, ...]] = ("user_interests",)

    def fetch(self, query: Query) -> Candidates:
        """`score` is the best interest query . item, `interest_index` the interest that found it."""
        interests = query.state.interests
        assert interests is not None
        out = len(barred(query))
        found = self._unmuted(query, interests, self.size + min(out, self.size))
        if len(found) < self.size and out > self.size:
            # So many may be ruled out, of a long list of exclusions most are not what the user would get.
            found = self._unmuted(query, interests, self.size + out)
        return found

    def _unmuted(self, query: Query, interests: Interests, wanted: int) -> Candidates:
        if not query.hides_muted:
            return self._able(query, interests, wanted)
        # The own vector still points to what is muted, and every query leans to the own vector.
        muted = self.catalogue.count_in(query.preferences.muted)
        found = self._able(query, interests, wanted + min(muted, wanted))
        if len(found) < self.size and muted > wanted:
            found = self._able(query, interests, wanted * _DEEPER)
        return found

    def _able(self, query: Query, interests: Interests, wanted: int) -> Candidates:
        if query.rule is None:
            found = [self._search(interests, wanted), *self._new(interests)]
        else:
            found = self._under(query.rule & self.catalogue.available, interests, wanted)
        rows, scores, interest = _joined(found)
        able = eligible(query, self.catalogue, rows)
        return Candidates.of(rows[able], score=scores[able], interest_index=interest[able])

    def _under(self, allowed: NDArray[np.bool_], interests: Interests, wanted: int) -> list[Retrieved]:
        left = int(np.count_nonzero(allowed))
        if left > EXACT:
            more = min(len(allowed) / left, MOST_MORE)
            return [self._search(interests, int(wanted * more)), *self._new(interests)]
        return [self._among(np.flatnonzero(allowed).astype(np.int32), interests, wanted)]

    def _search(self, interests: Interests, wanted: int) -> Retrieved:
        return retrieve(self.index, interests, wanted)

    def _new(self, interests: Interests) -> list[Retrieved]:
        delta = self.catalogue.delta
        if len(delta.rows) == 0:
            return []
        found = retrieve(delta.index, interests, max(1, round(self.size * _NEW_SHARE)))
        return [replace(found, rows=delta.rows[found.rows])]

    def _among(self, rows: Rows, interests: Interests, wanted: int) -> Retrieved:
        vectors = self.catalogue.items.take(rows)
        exact = build_index(vectors, IndexSettings("flat"), 0)
        found = retrieve(exact, interests, wanted)
        return replace(found, rows=rows[found.rows])


def _joined(found: list[Retrieved]) -> tuple[Rows, NDArray[np.float32], Rows]:
    if len(found) == 1:
        return found[0].rows, found[0].scores, found[0].interest
    return (
        np.concatenate([part.rows for part in found]),
        np.concatenate([part.scores for part in found]),
        np.concatenate([part.interest for part in found]),
    )
