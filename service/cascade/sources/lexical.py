"""What matches the words of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from retrieval.lexical import WEIGHTS, LexicalIndex
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
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)
    """Weights of the fields; one that is not named counts 1."""
    name: ClassVar[str] = "lexical"
    requires: ClassVar[tuple[str, ...]] = ()

    def fetch(self, query: Query) -> Candidates:
        """`score` is BM25 by field; changed items are scored by their present words, on the same scale."""
        text = query.text or ""
        wanted = self.size * (1 if query.rule is None else _UNDER_RULE) + len(barred(query))
        rows, scores = self.index.search(text, wanted, self.weights)
        unchanged = ~is_among(rows, self.catalogue.changed)
        new_rows, new_scores = self.catalogue.words.search(text, self.index, self.weights)
        rows = np.concatenate([rows[unchanged], new_rows])
        scores = np.concatenate([scores[unchanged], new_scores])
        able = eligible(query, self.catalogue, rows)
        return Candidates.of(rows[able], score=scores[able])
