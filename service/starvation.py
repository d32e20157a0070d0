"""Why a list is short: how many items each of its rules lets through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.cascade.query import Kind, Outcome, Query, Request, Rows
from service.cascade.room import within
from service.catalogue import Catalogue

Mask = NDArray[np.bool_]

STARVED = "filter_starved"
"""How an answer labels that its rules left too few items."""


def starvation(
    request: Request, query: Query, outcome: Outcome, catalogue: Catalogue, last_round: str
) -> dict[str, Any] | None:
    """What `service.api.list_schemas.StarvedOut` tells; None where the list is full, goes on, or no rule is
    to blame.

    The rules are to blame if fewer items pass all of them than were wanted, or a cap has room for fewer of
    those, if caps left candidates over, or if a recommendation, which may take anything, found too few under
    them with nothing degraded. A search of rare words is short by itself. `last_round` names the cascade's
    last round.
    """
    if query.offset or len(outcome.rows) >= query.count:
        return None
    masks = dict(rule_masks(request, query, catalogue))
    listed = catalogue.available.copy()
    if query.anchor is not None:
        listed[query.anchor] = False
    available = int(np.count_nonzero(listed))
    counts = {name: int(np.count_nonzero(listed & mask)) for name, mask in masks.items()}
    passes = {name: count for name, count in counts.items() if count < available}
    for mask in masks.values():
        listed &= mask
    lawful = np.flatnonzero(listed).astype(np.int32)
    left = len(lawful)
    rooms = {
        f"caps[{i}]": int(within(replace(query, caps=(cap,)), catalogue, lawful, slack=1).sum())
        for i, cap in enumerate(query.caps)
    }
    over = _left_over(query, outcome, last_round)
    too_few = (passes and left < query.count) or any(room < query.count for room in rooms.values())
    unfound = passes and query.kind is Kind.RECOMMEND and not outcome.degraded
    if not (too_few or unfound or over):
        return None
    return {
        "wanted": query.count,
        "returned": len(outcome.rows),
        "available": available,
        "passes": passes,
        "passes_all": left,
        "caps": rooms,
        "capped": over,
    }


def rule_masks(request: Request, query: Query, catalogue: Catalogue) -> Iterator[tuple[str, Mask]]:
    """A mask over all item rows [M] per rule, and per part of a filter whose parts all have to hold."""
    yield from _filter(request.filter, "filter", catalogue)
    yield from _filter(request.placement_filter, f"placements.{request.placement}.filter", catalogue)
    seen = query.user.rows[:0] if query.include_seen else query.user.rows
    for name, rows in {"exclude_items": query.exclude, "exclude_own": query.own, "seen": seen}.items():
        if len(rows):
            yield name, _without(rows, catalogue)
    if query.hides_muted:
        clusters = catalogue.clusters_of(np.arange(len(catalogue), dtype=np.int32))
        yield "muted", ~np.isin(clusters, query.preferences.muted)


def _filter(tree: Mapping[str, Any] | None, path: str, catalogue: Catalogue) -> Iterator[tuple[str, Mask]]:
    if tree is None:
        return
    yield path, catalogue.rules.mask(tree, path)
    for i, part in enumerate(tree.get("all", ())):
        yield f"{path}.all[{i}]", catalogue.rules.mask(part, f"{path}.all[{i}]")


def _without(rows: Rows, catalogue: Catalogue) -> Mask:
    mask = np.ones(len(catalogue), bool)
    mask[rows] = False
    return mask


def _left_over(query: Query, outcome: Outcome, last_round: str) -> int:
    """Candidates that the caps kept from a page that had room."""
    if not query.caps:
        return 0
    return sum(len(fate) for fate in outcome.fates if fate.stage == last_round)
