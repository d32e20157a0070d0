"""How evenly lists show items, each figure set between the worst and the best that such lists could have.

Measures of individual item fairness after arXiv 2311.01013, which shows that in their plain form most of
them cannot reach 0 or 1, or are not defined where an item is never shown. `corrected` follows its remedy: the
value of these lists, scaled between that of the least fair lists of the same size (the same items for
everybody) and of the fairest (all places shared out evenly). Where the paper states a bound by a formula we
compute the measure on those two extremes themselves (our choice); the tests compare both.

`shown` [m] says how often each item is listed. 1 is the fairest of all figures here but the two of Gini,
whose fairest is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.integer[Any]]
Doubles = NDArray[np.float64]


def jain(shown: Doubles) -> float:
    """Jain's index (sum x)^2 / (m sum x^2): 1 = all alike, 1 / m = one item takes all."""
    squares = float(shown @ shown)
    return float(shown.sum()) ** 2 / (len(shown) * squares) if squares else 1.0


def entropy(shown: Doubles) -> float:
    """Entropy of the exposure over its most, ln m; an item that is never shown adds 0."""
    total = float(shown.sum())
    if total == 0 or len(shown) < 2:
        return 1.0
    share = shown[shown > 0] / total
    return float(-(share * np.log(share)).sum() / np.log(len(shown)))


def gini(shown: Doubles) -> float:
    """Gini's index: 0 = all alike, 1 - 1 / m = one item takes all."""
    total = float(shown.sum())
    if total == 0:
        return 0.0
    place = np.arange(1, len(shown) + 1)
    return float(((2 * place - len(shown) - 1) * np.sort(shown)).sum() / (len(shown) * total))


def qualified(shown: Doubles) -> float:
    """QF, qualification fairness: the share of items that are shown at all."""
    return float((shown > 0).mean())


def satisfied(shown: Doubles) -> float:
    """FSat: the share of items that have at least the even share of places, rounded down.

    With fewer places than items that share is 0 and everybody would be satisfied; it is then 1 (our reading
    of the correction).
    """
    return float((shown >= max(1.0, np.floor(shown.sum() / len(shown)))).mean())


MEASURES: Mapping[str, Callable[[Doubles], float]] = {
    "Jain": jain,
    "entropy": entropy,
    "Gini": gini,
    "QF": qualified,
    "FSat": satisfied,
}


def exposure_fairness(ranked: Rows, items: int) -> dict[str, float]:
    """The corrected figures of lists [B, k] (-1 = no item) over a catalogue of `items`; `Gini-w` by place.

    Raises:
        ValueError: there is no item in any list.
    """
    shown = counts(ranked, items)
    if not shown.any():
        raise ValueError("lists without an item have no fairness")
    worst, best = least_fair(ranked, items), most_fair(int(shown.sum()), items)
    found = {name: corrected(measure, shown, worst, best) for name, measure in MEASURES.items()}
    return found | {"Gini-w": weighted_gini(ranked, items)}


def corrected(measure: Callable[[Doubles], float], shown: Doubles, worst: Doubles, best: Doubles) -> float:
    """The measure's value, 0..1 between that of `worst` and `best` exposure; Gini: 0 at the best.

    Where nothing could differ, the lists are as fair as can be.
    """
    low, high = sorted((measure(worst), measure(best)))
    value = (measure(shown) - low) / (high - low) if high - low > 1e-12 else float(measure is not gini)
    return float(np.clip(value, 0.0, 1.0))


def counts(ranked: Rows, items: int) -> Doubles:
    """How often each item is listed [m]."""
    return np.bincount(ranked[ranked >= 0].ravel(), minlength=items).astype(np.float64)


def least_fair(ranked: Rows, items: int) -> Doubles:
    """Exposure [m] where as few items as possible fill as many places: each of them is in every list."""
    total, lists = int((ranked >= 0).sum()), len(ranked)
    shown = np.zeros(items)
    full, rest = divmod(total, lists)
    shown[:full] = lists
    if rest:
        shown[full] = rest
    return shown


def most_fair(total: int, items: int) -> Doubles:
    """Exposure [m] of `total` places that are shared out evenly: no two items differ by more than one."""
    shown = np.full(items, float(total // items))
    shown[: total % items] += 1
    return shown


def weighted_gini(ranked: Rows, items: int) -> float:
    """Gini of exposure that counts 1 / log2(place + 1), over that of the same list for everybody: 0..1.

    The fairest is taken as 0, which places of different worth may not quite reach (our choice); with fewer
    places than items, as each place going to another item.
    """
    weight = 1 / np.log2(np.arange(2, ranked.shape[1] + 2))
    mask = ranked >= 0
    places = np.broadcast_to(weight, ranked.shape)[mask]
    shown = np.bincount(ranked[mask], places, items).astype(np.float64)
    same = np.zeros(max(items, ranked.shape[1]))
    same[: ranked.shape[1]] = weight * mask.sum(axis=0)
    best = np.zeros(items)
    if len(places) <= items:
        best[: len(places)] = places
    low, high = gini(best), gini(same[:items])
    return float(np.clip((gini(shown) - low) / (high - low), 0.0, 1.0)) if high > low else 0.0
