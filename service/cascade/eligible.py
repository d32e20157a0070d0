"""Which rows a source need not propose, because a filter would rule them out.

The filters remain the authority; a source that asks here only spends its slots better.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.cascade.membership import is_among
from service.cascade.query import Query, Rows
from service.catalogue import Catalogue


def barred(query: Query) -> Rows:
    """Rows that this query cannot return: shown, excluded, the user's own, the anchor, and seen unless it
    includes them."""
    seen = query.user.rows[:0] if query.include_seen else query.user.rows
    if query.anchor is None and len(query.shown) == len(query.exclude) == len(query.own) == 0:
        return seen
    anchor = np.array([] if query.anchor is None else [query.anchor], np.int32)
    return np.concatenate([query.shown, query.exclude, query.own, anchor, seen])


def eligible(query: Query, catalogue: Catalogue, rows: Rows) -> NDArray[np.bool_]:
    """Rows [N] that are available, allowed by the caller's rule, not barred and not muted."""
    allowed = catalogue.available[rows] & ~is_among(rows, barred(query))
    if query.hides_muted:
        allowed &= ~np.isin(catalogue.clusters_of(rows), query.preferences.muted)
    return allowed if query.rule is None else allowed & query.rule[rows]


def first_eligible(query: Query, catalogue: Catalogue, order: Rows, size: int) -> Rows:
    """The first `size` eligible rows of an order, reading no more of it than needed."""
    found: list[Rows] = []
    count, start, window = 0, 0, 2 * size
    while start < len(order) and count < size:
        part = order[start : start + window]
        part = part[eligible(query, catalogue, part)]
        found.append(part)
        count, start, window = count + len(part), start + window, 2 * window
    return np.concatenate(found)[:size] if found else order[:0]
