"""Which widths of a cascade can be cut, and what an answer says of those that were."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from service.cascade.query import Fate, Query
from service.cascade.round import Round
from service.overload.costs import Widths


def widths_of(rounds: Sequence[Round]) -> Widths:
    """Each scorer behind a round of fixed size, with that size."""
    pairs = pairwise(rounds)
    return [
        (f"score.{scorer.name}", before.size)
        for before, after in pairs
        if before.size is not None
        for scorer in after.scorers
    ]


def narrowed(rounds: Sequence[Round], query: Query, fates: Sequence[Fate]) -> tuple[str, ...]:
    """`width:ROUND` for each round that got fewer candidates than the plan gives it."""
    if query.quality >= 1.0:
        return ()
    cut = {fate.stage for fate in fates if fate.reason == "cut" and len(fate)}
    return tuple(
        f"width:{after.name}"
        for before, after in pairwise(rounds)
        if before.name in cut and before.size is not None and before.size_for(query) < before.size
    )
