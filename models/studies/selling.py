"""Auctions sold anew by other chances, and what promising too much earns by itself.

The second price is set by whoever comes second, in units of what is promised. Who promises too much wins more
impressions from the outsiders, and makes those who still win pay more; up to a point that earns more than the
truth does. So revenue alone says little of a ranking: `at_level` takes the level of the promises out, and
`with_bias` lends the truth what a method promises too much, by bid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from models.data.candidates import Candidates

Doubles = NDArray[np.float64]

LEVELS = (0.7, 1.0, 1.2, 1.5, 2.0, 2.5)
"""Predicted over expected clicks that the truth is raised to."""
DECILES = 10
_FURTHEST = 20.0
"""Shifts of a logit that are looked at."""


@dataclass(frozen=True, slots=True)
class Sold:
    """What auctions bring, per auction that has candidates, in micros: expected by the true CTR."""

    winner: NDArray[np.int64]
    """Row of our best candidate."""
    ours: NDArray[np.bool_]
    """Whether it wins against the outsiders."""
    price_micros: Doubles
    """Per click where ours wins, else per impression."""
    revenue: Doubles
    value: Doubles
    """Bid x true CTR of the winner, or the outsider's offer."""


def sell(every: Candidates, chance: Doubles) -> Sold:
    """Sell each auction anew by bid x chance, against the outsiders that were there, at the second price.

    The price of a click is the least bid that would still have won, at least the floor: the best other score
    over the winner's chance. An outsider pays the best other score per impression. Ties among ours go to the
    candidate that stands first, with outsiders to them.
    """
    score = every.bid_micros * chance
    order = np.lexsort((-score, every.auction))
    first = np.flatnonzero(np.diff(every.auction[order], prepend=-1))
    size = np.diff(np.append(first, len(order)))
    winner = order[first]
    best = score[winner]
    runner_up = np.where(size > 1, score[order[np.minimum(first + 1, len(order) - 1)]], 0.0)
    outside, second = every.outside_micros[winner], every.outside_second_micros[winner]
    bid, floor = every.bid_micros[winner], every.floor_micros[winner]
    ours = best > outside
    click = np.clip(np.maximum(runner_up, outside) / chance[winner], floor, bid)
    price = np.where(ours, click, np.maximum(best, second))
    ctr = every.ctr[winner].astype(np.float64)
    return Sold(winner, ours, price, price * np.where(ours, ctr, 1.0), np.where(ours, bid * ctr, outside))


def at_level(every: Candidates, chance: Doubles, level: float = 1.0) -> Doubles:
    """The chances with one constant added to all logits, so that predicted over expected clicks is `level`.

    It reads the true CTR of the held-out auctions: a way to compare methods, not one to serve.

    Raises:
        ValueError: no constant reaches the level.
    """
    own, wanted = logit(chance), level * float(every.ctr.sum(dtype=np.float64))

    def surplus(shift: float) -> float:
        return float(_chance(own + shift).sum()) - wanted

    if surplus(-_FURTHEST) > 0 or surplus(_FURTHEST) < 0:
        raise ValueError(f"no shift of these logits promises {level} times the expected clicks")
    return _chance(own + brentq(surplus, -_FURTHEST, _FURTHEST, xtol=1e-9))


def with_bias(every: Candidates, by_decile: Sequence[float]) -> Doubles:
    """What all that can be known promises, times a method's COPC of each bid decile: its bias without its
    ranking."""
    factor = np.asarray(by_decile, np.float64)[deciles(every.bid_micros)]
    return np.minimum(every.mean_ctr * factor, 1.0)


def promises(every: Candidates) -> list[dict[str, float]]:
    """What the truth earns when it promises too little or too much, at each of `LEVELS`."""
    told = []
    for level in LEVELS:
        sold = sell(every, at_level(every, every.mean_ctr.astype(np.float64), level))
        told.append(
            {
                "level": level,
                "sold": float(sold.ours.mean()),
                "ours": float(np.where(sold.ours, sold.revenue, 0.0).mean()),
                "outsiders": float(np.where(sold.ours, 0.0, sold.revenue).mean()),
                "revenue": float(sold.revenue.mean()),
                "value": float(sold.value.mean()),
            }
        )
    return told


def logit(chance: NDArray[Any]) -> Doubles:
    """ln(p / (1 - p)), kept finite."""
    p = np.clip(chance.astype(np.float64), 1e-7, 1 - 1e-7)
    found: Doubles = np.log(p) - np.log1p(-p)
    return found


def deciles(bid_micros: NDArray[np.int64]) -> NDArray[np.int64]:
    """0..9 by bid, equally many each; equal bids in the order of the rows."""
    place = np.empty(len(bid_micros), np.int64)
    place[np.argsort(bid_micros, kind="stable")] = np.arange(len(bid_micros))
    tenth: NDArray[np.int64] = place * DECILES // len(bid_micros)
    return tenth


def _chance(logits: Doubles) -> Doubles:
    found: Doubles = 1 / (1 + np.exp(-logits))
    return found
