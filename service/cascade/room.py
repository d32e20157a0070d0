"""What of a batch the caps of a query have room for, whatever the order of the list becomes."""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

from ranking.caps import CodedCap
from service.cascade.query import Cap, Query, Rows
from service.catalogue import Catalogue

Codes = NDArray[np.int32]

SLACK = 5
"""So many times the items that a page can take of a value are kept of it, for later steps to choose from."""


def coded(query: Query, catalogue: Catalogue, rows: Rows) -> list[CodedCap]:
    """The caps of a query over rows [N], after the places of earlier pages."""
    caps = []
    for cap in query.caps:
        # Numbers of values hold within one call, so both come from the same one.
        codes = catalogue.codes_of(cap.field, np.concatenate([query.before, rows]))
        before = codes[: len(query.before)]
        caps.append(CodedCap(codes[len(query.before) :], before, cap.most, cap.window))
    return caps


def most_of(cap: Cap, count: int) -> int:
    """The most items with one value that a page of `count` can have under a cap."""
    windows = 1 if cap.window is None else ceil(count / cap.window)
    return cap.most * windows


def within(query: Query, catalogue: Catalogue, rows: Rows, slack: int = SLACK) -> NDArray[np.bool_]:
    """Of rows [N] in an order, those [N] with no value that enough rows before them have.

    Enough is `slack` times what a page has room for; each cap counts by itself. All of them without caps.
    """
    useful = np.ones(len(rows), bool)
    for cap in query.caps:
        codes = catalogue.codes_of(cap.field, rows)
        useful &= (_occurrence(codes) < slack * most_of(cap, query.count)).all(axis=1)
    return useful


def _occurrence(codes: Codes) -> NDArray[np.int64]:
    """How often the value of each entry of [N, V] stands in earlier rows; 0 for none (-1)."""
    flat = codes.ravel()
    order = np.argsort(flat, kind="stable")
    ranked = flat[order]
    first = np.r_[True, ranked[1:] != ranked[:-1]] if len(ranked) else np.zeros(0, bool)
    begins = np.maximum.accumulate(np.where(first, np.arange(len(ranked)), 0))
    found = np.empty(len(flat), np.int64)
    found[order] = np.arange(len(ranked)) - begins
    found[flat < 0] = 0
    return found.reshape(codes.shape)
