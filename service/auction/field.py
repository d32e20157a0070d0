"""Who competes for the slots of a list: ads that its cascade ranked, and those of the cascade for ads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ranking.auction import ecpm
from service.auction.eligible import AUCTION, Eligible
from service.auction.pricing import Prices
from service.cascade.candidates import Candidates
from service.cascade.cascade import SCORED
from service.cascade.query import Fate, Kind, Outcome, Query, Rows
from service.engine import Engine
from service.offers import Ads

_RANKED = "rank" + SCORED
_FILTERED = "filter"
_ABSENT: Mapping[str, Any] = {"f": np.nan, "i": -1, "u": 0, "b": False}


class NoAuction(Exception):
    """Nothing is sold in this list, and `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Field:
    """K ads with a click probability: `rows`, `pctr`, `bids` in micros, `owners` (numbers of advertisers).

    `parts` are the batches that they come from, `part` and `position` [K] where in them. `most` [advertisers]
    is how many ads of each may win. `fates` are of the ads that did not come so far.
    """

    ads: Ads
    rows: Rows
    pctr: NDArray[np.float64]
    bids: NDArray[np.int64]
    owners: NDArray[np.int32]
    parts: tuple[Candidates, ...]
    part: NDArray[np.intp]
    position: NDArray[np.intp]
    most: NDArray[np.int64]
    fates: tuple[Fate, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ecpm(self) -> NDArray[np.float64]:
        """Expected micros [K] for a thousand impressions."""
        return ecpm(self.pctr, self.bids)

    def column(self, name: str, like: NDArray[Any], chosen: NDArray[np.intp]) -> NDArray[Any]:
        """The values of a column for the chosen ads, absent ones as a batch marks them."""
        values = np.full((len(chosen), *like.shape[1:]), _ABSENT.get(like.dtype.kind, 0), like.dtype)
        for number, part in enumerate(self.parts):
            if name in part.columns:
                here = self.part[chosen] == number
                values[here] = part[name][self.position[chosen[here]]]
        return values


def field_of(
    engine: Engine,
    query: Query,
    outcome: Outcome,
    batches: Mapping[str, Candidates],
    able: Eligible,
    prices: Prices,
) -> Field:
    """The field of a list whose cascade ended with `outcome` and showed `batches` on the way.

    In a search only items that it found compete. The other ads go through the cascade for ads.

    Raises:
        NoAuction: nothing was ranked, or not so that a price could be made of it.
    """
    ads = engine.catalogue.ads
    wanted = ads.rows[able.ads]
    ranked = batches.get(_RANKED)
    if ranked is None:
        raise NoAuction("plan")
    ranked = ranked.take(np.isin(ranked.rows, wanted))
    parts = [(ranked, _trusted(prices(ranked, outcome.degraded)))]
    fates = list(able.fates)
    rest = wanted[~np.isin(wanted, ranked.rows)]
    if query.kind is Kind.SEARCH:
        found = np.isin(rest, batches[_FILTERED].rows)
        fates += _fate("unmatched", rest[~found])
        rest = rest[found]
    if len(rest):
        own = engine.run(replace(query, kind=Kind.SPONSORED, ads=rest, state=outcome.state))
        batch = Candidates.of(own.rows, **own.columns)
        parts.append((batch, _trusted(prices(batch, own.degraded))))
        lost = [fate for fate in own.fates if fate.stage != "answer"]
        known = np.concatenate([own.rows, *(fate.rows for fate in lost)])
        fates += [*lost, *_fate("unproposed", rest[~np.isin(rest, known)])]
    return _joined(ads, able, parts, fates)


def _trusted(pctr: NDArray[np.float64] | None) -> NDArray[np.float64]:
    if pctr is None:
        raise NoAuction("ranker")
    return pctr


def _joined(
    ads: Ads,
    able: Eligible,
    parts: Sequence[tuple[Candidates, NDArray[np.float64]]],
    fates: Sequence[Fate],
) -> Field:
    rows = np.concatenate([batch.rows for batch, _ in parts])
    at = ads.at(rows)
    return Field(
        ads=ads,
        rows=rows,
        pctr=np.concatenate([pctr for _, pctr in parts]),
        bids=ads.bids[at],
        owners=ads.advertiser[at],
        parts=tuple(batch for batch, _ in parts),
        part=np.repeat(np.arange(len(parts)), [len(batch) for batch, _ in parts]),
        position=np.concatenate([np.arange(len(batch)) for batch, _ in parts]),
        most=able.most,
        fates=tuple(fates),
    )


def _fate(reason: str, rows: Rows) -> list[Fate]:
    return [Fate(AUCTION, reason, rows)] if len(rows) else []
