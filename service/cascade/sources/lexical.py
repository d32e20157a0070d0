"""What matches the words of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from retrieval.lexical import LexicalIndex
from service.cascade.candidates import Candidates
from service.cascade.eligible import barred, eligible
from service.cascade.membership import is_among
from service.cascade.query import Query
from service.catalogue import Catalogue

_UNDER_RULE = 10
"""With a rule, so many times more hits are read, since it will drop some."""


@dataclass(frozen=True, slots=True)
class Lexical:
    """BM25 over the bundle's items; those that changed since are matched by their present words."""

    index: LexicalIndex
    catalogue: Catalogue
    size: int
    name: ClassVar[str] = "lexical"
    requires: ClassVar[tuple[str, ...]] = ()

    def fetch(self, query: Query) -> Candidates:
        """`score` is BM25; a changed item has the best hit's, times the share of the words that it holds."""
        text = query.text or ""
        wanted = self.size * (1 if query.rule is None else _UNDER_RULE) + len(barred(query))
        rows, scores = self.index.search(text, wanted)
        unchanged = ~is_among(rows, self.catalogue.changed)
        new_rows, shares = self.catalogue.words.search(text)
        best = scores.max(initial=np.float32(0.0)) or np.float32(1.0)
        rows = np.concatenate([rows[unchanged], new_rows])
        scores = np.concatenate([scores[unchanged], shares * best])
        able = eligible(query, self.catalogue, rows)
        return Candidates.of(rows[able], score=scores[able])
