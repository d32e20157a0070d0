"""The settings that tuning tries: what to build of each kind, and how to search what was built."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from retrieval.cells import SUITS
from retrieval.index_settings import IndexSettings

PROBES = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128)
BREADTHS = (16, 32, 64, 128, 200, 300, 400, 600)
REFINES = (2, 4, 8)
SHARES = (0.4, 0.7, 1.0)
"""Cells to make, in parts of sqrt(items)."""


def builds(kind: str, items: int, clusters: int) -> Iterator[IndexSettings]:
    """What to build of a kind for `items` items and so many clusters, which may serve as cells."""
    if kind == "flat":
        yield IndexSettings(kind)
    elif kind == "hnsw":
        yield from (IndexSettings(kind, links=links) for links in (16, 32))
    else:
        root = items**0.5
        own = {max(round(share * root), 1) for share in SHARES}
        shared = {clusters} if SUITS[0] * root <= clusters <= SUITS[1] * root else set()
        lists = sorted(own | shared)
        # Product codes take long to learn, and their cells matter less than their refinement.
        chosen = [min(shared or own, key=lambda one: abs(one - root))] if kind == "ivfpq" else lists
        yield from (IndexSettings(kind, lists=each) for each in chosen)


def searches(built: IndexSettings) -> Iterator[list[IndexSettings]]:
    """Ways to search it, in lists of rising thoroughness."""
    probes = [each for each in PROBES if each <= max(built.lists, 1)] or [1]
    if built.kind == "flat":
        yield [built]
    elif built.kind == "hnsw":
        yield [replace(built, breadth=breadth) for breadth in BREADTHS]
    elif built.kind in ("ivfpq", "pq4"):
        for refine in REFINES:
            yield [replace(built, refine=refine, probes=each) for each in probes]
    else:
        yield [replace(built, probes=each) for each in probes]
