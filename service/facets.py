"""How many of the items that a list chose from have which value of an attribute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.schema import Field, FieldKind
from service.attributes import as_labels
from service.cascade.candidates import Candidates
from service.cascade.query import Query, Rows
from service.catalogue import Catalogue
from service.errors import CallerError

Facets = Mapping[str, Sequence[Mapping[str, Any]]]

VALUES = 20
"""Values of an attribute that are told, the most frequent ones."""
_KINDS = (FieldKind.CATEGORY, FieldKind.SET)


def check_facets(names: Sequence[str], fields: Sequence[Field]) -> None:
    """Refuse what cannot be counted.

    Raises:
        CallerError: names the place in the list, and what can be.
    """
    known = sorted(field.name for field in fields if field.kind in _KINDS)
    for i, name in enumerate(names):
        if name not in known:
            raise CallerError(f"facets[{i}]", f"{name!r} cannot be counted; categories and sets are {known}")


def counted_rows(query: Query, batch: Candidates, most: int) -> Rows:
    """What is counted: of the candidates after the filters the first `most`, and those of earlier pages.

    In a search those that have one of its words, if any has: what is only near in meaning has no end.
    """
    lexical = batch.columns.get("lexical_score")
    rows = batch.rows
    if lexical is not None and np.isfinite(lexical).any():
        rows = rows[np.isfinite(lexical)]
    return np.union1d(rows[:most], query.shown).astype(np.int32)


def count_facets(names: Sequence[str], rows: Rows, catalogue: Catalogue) -> Facets:
    """Per attribute `value` and `count` of its most frequent values, ties by value."""
    counters: dict[str, Counter[str]] = {name: Counter() for name in names}
    for row in rows.tolist():
        record = catalogue.record_of(row) or {}
        for name, counter in counters.items():
            counter.update(set(as_labels(record.get(name))))
    return {
        name: [
            {"value": value, "count": count}
            for value, count in sorted(counter.items(), key=lambda pair: (-pair[1], pair[0]))[:VALUES]
        ]
        for name, counter in counters.items()
    }
