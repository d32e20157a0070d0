"""The auction of sponsored slots: eCPM order, reserve, generalised second price in integer micros.

Generalised second price (Edelman, Ostrovsky and Schwarz 2007; Varian 2007) with quality weights: an ad's
weight is pCTR x bid, a winner pays per click the least whole bid that keeps its slot. A comparison is one of
float64 products, which never fall as the bid rises, so "the least bid" is exact and not a rounded quotient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Micros = NDArray[np.int64]
Rows = NDArray[np.int32]
Positions = NDArray[np.intp]

LARGEST_BID = 10**12
"""Micros, a million units a click: up to there products of a bid tell neighbouring micros apart."""
_NEVER = 2**53
"""More than any bid: a click probability so small that no bid would have won."""
_STEPS = np.arange(-2, 4)
"""Around the quotient, which float64 rounds by far less than one."""


@dataclass(frozen=True, slots=True)
class Awards:
    """What an auction of N ads decided.

    `order` [n] are the positions of the ads that competed, by falling weight; the first of them won, one slot
    each: `prices` [S] is what each pays for a click, in micros.
    """

    order: Positions
    prices: Micros

    @property
    def winners(self) -> Positions:
        """Positions [S] of the winners, the best slot first."""
        return self.order[: len(self.prices)]

    @property
    def outbid(self) -> Positions:
        """Positions of the ads that competed and got no slot, by falling weight."""
        return self.order[len(self.prices) :]


def ecpm(pctr: Floats, bids: Micros) -> NDArray[np.float64]:
    """Expected micros [N] for a thousand impressions: 1000 * pCTR * bid."""
    return 1000.0 * _weights(pctr, bids)


def competes(pctr: Floats, bids: Micros, reserve_micros: int) -> NDArray[np.bool_]:
    """[N] True = the ad may win a slot: its pCTR is a probability above 0 and its bid meets the reserve.

    A bid that is not positive, or above `LARGEST_BID`, competes nowhere.
    """
    able = np.isfinite(pctr) & (pctr > 0) & (pctr <= 1)
    return able & (bids >= max(reserve_micros, 1)) & (bids <= LARGEST_BID)


def award(pctr: Floats, bids: Micros, rows: Rows, reserve_micros: int, slots: int) -> Awards:
    """Sell at most `slots` slots to N ads with click probabilities `pctr`, `bids` per click and item `rows`.

    The greater weight pCTR * bid has the better slot, ties by row. A winner's price is the least whole number
    of micros with which it would still stand before the next one, at least the reserve; so it is never above
    its own bid. The last winner stands against the first loser, or against the reserve alone.
    """
    able = np.flatnonzero(competes(pctr, bids, reserve_micros))
    weights = _weights(pctr, bids)
    order = able[np.lexsort((rows[able], -weights[able]))]
    sold = min(max(slots, 0), len(order))
    prices = np.full(sold, max(reserve_micros, 1), np.int64)
    beaten = min(sold, len(order) - 1)
    if beaten > 0:
        ahead, behind = order[:beaten], order[1 : beaten + 1]
        least = least_bid(pctr[ahead], rows[ahead], weights[behind], rows[behind])
        prices[:beaten] = np.maximum(prices[:beaten], least)
    return Awards(order, prices)


def least_bid(pctr: Floats, rows: Rows, weights: Floats, others: Rows) -> Micros:
    """The least whole bid [n] with which ads of `pctr` and `rows` stand before ads of `weights` and `others`.

    2**53 where no bid does, for the click probability is all but 0.
    """
    own = np.asarray(pctr, np.float64)
    # Divided only where the quotient is a bid that could be made.
    reached = own * _NEVER > weights
    quotient = np.divide(weights, own, out=np.full(len(own), float(_NEVER)), where=reached)
    tried = np.maximum(np.floor(quotient).astype(np.int64)[:, None] + _STEPS, 0)
    products = own[:, None] * tried
    ties_won = (rows < others)[:, None]
    enough = (products > weights[:, None]) | ((products == weights[:, None]) & ties_won)
    first = enough.argmax(axis=1)
    found: Micros = np.take_along_axis(tried, first[:, None], axis=1)[:, 0]
    return np.where(enough.any(axis=1), np.minimum(found, _NEVER), _NEVER).astype(np.int64)


def best_of_each(order: Positions, advertisers: Rows, most: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[n] True at those of `order` [n] that are among the best of their advertiser.

    `advertisers` [N] are numbers by position, `most` [A] how many ads of each advertiser may compete. Only so
    many enter an auction, so that an advertiser does not outbid itself (our choice).
    """
    owners = advertisers[order]
    grouped = np.argsort(owners, kind="stable")
    sorted_owners = owners[grouped]
    place = np.arange(len(order)) - np.searchsorted(sorted_owners, sorted_owners)
    kept = np.zeros(len(order), bool)
    kept[grouped] = place < most[sorted_owners]
    return kept


def by_weight(pctr: Floats, bids: Micros, rows: Rows) -> Positions:
    """Positions [N] by falling weight pCTR * bid, ties by row; a pCTR that is not finite comes last."""
    weights = _weights(pctr, bids)
    return np.lexsort((rows, np.where(np.isfinite(weights), -weights, np.inf)))


def _weights(pctr: Floats, bids: Micros) -> NDArray[np.float64]:
    return np.asarray(pctr, np.float64) * bids
