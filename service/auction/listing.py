"""The list that an auction leaves: its items, their columns, and where every candidate ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ranking.caps import CodedCap
from ranking.placing import Page, placed
from service.auction.field import Field
from service.cascade.query import Fate, Outcome, Query, Rows
from service.cascade.sources.sponsored import Sponsored
from service.catalogue import Catalogue

DISPLACED = "sponsored"
"""The stage of organic items that made way for ads."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A page that could be served: `page.positions` count the `organic` positions of the outcome, then the
    `ads`, which are positions in the field."""

    page: Page
    organic: NDArray[np.intp]
    ads: NDArray[np.intp]

    @property
    def places(self) -> list[int]:
        """The places of the ads, from 0."""
        return np.flatnonzero(self.page.positions >= len(self.organic)).tolist()


def draft(
    query: Query,
    catalogue: Catalogue,
    outcome: Outcome,
    field: Field,
    winners: NDArray[np.intp],
    slots: Sequence[int],
) -> Draft:
    """The page with these winners at its `slots` (places from 0); an item that won is not there twice."""
    organic = np.flatnonzero(~np.isin(outcome.rows, field.rows[winners]))
    rows = np.concatenate([outcome.rows[organic], field.rows[winners]])
    caps = []
    for cap in query.caps:
        # Numbers of values hold within one call, so both come from the same one.
        codes = catalogue.codes_of(cap.field, np.concatenate([query.before, rows]))
        before = codes[: len(query.before)]
        caps.append(CodedCap(codes[len(query.before) :], before, cap.most, cap.window))
    page = placed(len(organic), len(winners), slots, query.count, caps)
    return Draft(page, organic, winners)


def listed(outcome: Outcome, field: Field, drafted: Draft) -> Outcome:
    """The outcome with the draft's items; what made way for ads has the fate `DISPLACED`."""
    positions, count = drafted.page.positions, len(drafted.organic)
    is_ad = positions >= count
    own, won = drafted.organic[positions[~is_ad]], drafted.ads[positions[is_ad] - count]
    rows = np.empty(len(positions), np.int32)
    rows[~is_ad], rows[is_ad] = outcome.rows[own], field.rows[won]
    columns: dict[str, NDArray[Any]] = {}
    for name, column in outcome.columns.items():
        values = np.empty((len(positions), *column.shape[1:]), column.dtype)
        values[~is_ad], values[is_ad] = column[own], field.column(name, column, won)
        columns[name] = values
    _complete(columns, outcome, field, is_ad, won)
    return replace(
        outcome,
        rows=rows,
        columns=columns,
        source_names=(*outcome.source_names, Sponsored.name),
        fates=_fates(outcome, rows),
    )


def _complete(
    columns: dict[str, NDArray[Any]],
    outcome: Outcome,
    field: Field,
    is_ad: NDArray[np.bool_],
    won: NDArray[np.intp],
) -> None:
    """What the list's own cascade did not say of an ad: its source, and a score if it has none."""
    organic = field.part[won] == 0
    bits = np.where(organic, field.column("sources", columns["sources"], won), 0)
    columns["sources"][is_ad] = bits | 1 << len(outcome.source_names)
    scores = columns["score"][is_ad]
    columns["score"][is_ad] = np.where(np.isfinite(scores), scores, field.pctr[won])


def _fates(outcome: Outcome, rows: Rows) -> tuple[Fate, ...]:
    """Each candidate once: ads that were cut and then won are returned, organic items that left are not."""
    fates = []
    for fate in outcome.fates:
        ended = fate.rows
        stay = np.isin(ended, rows, invert=True)
        if fate.stage == "answer":
            away = ended[stay]
            fates += [Fate(DISPLACED, "cut", away)] if len(away) else []
            continue
        fates.append(fate if stay.all() else Fate(fate.stage, fate.reason, ended[stay]))
    return (*fates, Fate("answer", "returned", rows))
