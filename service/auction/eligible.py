"""Which ads may compete in a list, and why the others may not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.auction.standing import Columns
from service.cascade.query import Fate, Rows, Selling
from service.offers import Ads

_ANY = 1_000_000
AUCTION = "auction"
"""The stage of what an auction decides."""


@dataclass(frozen=True, slots=True)
class Eligible:
    """Places [n] among the ads of those that may compete, how many ads of each advertiser may still stand in
    the list [advertisers], and the fates of the others."""

    ads: NDArray[np.intp]
    most: NDArray[np.int64]
    fates: tuple[Fate, ...]


def eligible(
    ads: Ads,
    selling: Selling,
    standing: Columns,
    shown: Mapping[str, int],
    earlier: NDArray[np.int64],
) -> Eligible:
    """Apply the rules that cost nothing before anything is retrieved, the first that fails is the reason.

    `shown` counts the ads that the user saw lately by advertiser, `earlier` [advertisers] those on earlier
    pages of this list.
    """
    unseen = _unseen(ads, selling, shown)
    most = np.maximum(np.minimum(selling.per_advertiser - earlier, unseen), 0)
    owner, bids = ads.advertiser, ads.bids
    rules = (
        ("currency", ads.currency != _index(ads.currencies, selling.currency)),
        ("reserve", bids < selling.reserve_micros),
        ("account", ~standing.has_account(selling.currency)[owner]),
        ("budget", standing.remaining[owner] < bids),
        ("pace", standing.available[owner] < bids),
        ("user_cap", unseen[owner] <= 0),
        ("advertiser_cap", most[owner] == 0),
    )
    left = np.ones(len(ads), bool)
    fates = []
    for reason, out in rules:
        gone = left & out
        if gone.any():
            fates.append(Fate(AUCTION, reason, ads.rows[gone]))
            left &= ~out
    return Eligible(np.flatnonzero(left), most, tuple(fates))


def earlier_ads(ads: Ads, rows: Rows) -> NDArray[np.int64]:
    """How many of `rows`, which stood at slots of earlier pages, are ads of each advertiser.

    What stood there unpaid counts, too: a page does not know which it was (our choice).
    """
    mine = ads.rows[np.isin(ads.rows, rows)]
    return np.bincount(ads.advertiser[ads.at(mine)], minlength=len(ads.advertisers)).astype(np.int64)


def _index(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else -1


def _unseen(ads: Ads, selling: Selling, shown: Mapping[str, int]) -> NDArray[np.int64]:
    """How many more ads of each advertiser the user may see."""
    most = _ANY if selling.user_most is None else selling.user_most
    unseen = np.full(len(ads.advertisers), most, np.int64)
    if selling.user_most is not None:
        for name, count in shown.items():
            if name in ads.advertisers:
                unseen[ads.advertisers.index(name)] -= count
    return unseen
