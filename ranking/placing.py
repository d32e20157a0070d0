"""A page of organic and sponsored items: the slots' places for ads, all other places for the organic list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ranking.caps import CodedCap, Tally


@dataclass(frozen=True, slots=True)
class Page:
    """`positions` [n] of a page: organic items count from 0, the ads behind them.

    `ads` of them found a place, in their order. `barred` is the ad that would have broken a cap at its place;
    None = all that were placed keep them. With `barred` the page is not to be used: leave that ad out.
    """

    positions: NDArray[np.intp]
    ads: int
    barred: int | None = None


def placed(organic: int, ads: int, slots: Sequence[int], size: int, caps: Sequence[CodedCap] = ()) -> Page:
    """Fill at most `size` places from `organic` items, best first, and `ads`, best first.

    `slots` are places of this page, from 0. A slot without an ad is the organic list's; an organic item that
    would break a cap (numbered as `Page.positions`) makes way for the next one. The page ends where an
    organic place cannot be filled, so an ad never stands below a gap.
    """
    tallies = [Tally(cap) for cap in caps]
    left = np.zeros(organic + ads, bool)
    left[:organic] = True
    wanted, used = frozenset(slots), 0
    picked: list[int] = []
    for place in range(size):
        able = left
        for tally in tallies:
            able = able & tally.able()
        if place in wanted and used < ads:
            chosen = organic + used
            if not all(tally.able()[chosen] for tally in tallies):
                return Page(np.array(picked, np.intp), used, barred=used)
            used += 1
        elif able.any():
            chosen = int(np.argmax(able))
            left[chosen] = False
        else:
            break
        picked.append(chosen)
        for tally in tallies:
            tally.add(tally.cap.codes[chosen])
    return Page(np.array(picked, np.intp), used)
