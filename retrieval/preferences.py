"""What a user said about interests: pinned ones stay in the mixture, muted ones stay out (our choice)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.masks import some
from retrieval.order import descending, is_descending

Rows = NDArray[np.int32]
Shares = NDArray[np.float64]


def _none() -> Rows:
    return np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True)
class Preferences:
    """Clusters that a user pinned, the latest first, and clusters that the user muted; both distinct."""

    pinned: Rows = field(default_factory=_none)
    muted: Rows = field(default_factory=_none)

    @classmethod
    def of(cls, pinned: Sequence[int] = (), muted: Sequence[int] = ()) -> Preferences:
        """From plain numbers."""
        return cls(np.array(pinned, np.int32), np.array(muted, np.int32))

    def choose(self, mixture: Shares, most: int) -> tuple[Rows, Shares]:
        """At most `most` clusters of a mixture [C], largest share first, and their shares, which sum to 1.

        A muted cluster is never chosen. A pinned one always is, the latest `most` of them, with a share of
        at least 1 / `most` even where the mixture has none of it; the others keep their proportions and fill
        what is left. Without preferences: the largest shares of the mixture, as they are.
        """
        pinned = self.pinned[~_among(self.pinned, self.muted)][:most]
        first = mixture.astype(np.float32)
        first[self.muted] = 0.0
        first[pinned] = np.inf
        able = np.flatnonzero(first > 0).astype(np.int32)
        chosen: Rows = able[np.argsort(-first[able], kind="stable")[:most]]
        shares = _raised(mixture[chosen], _among(chosen, pinned), 1.0 / max(most, 1))
        shown = shares.astype(np.float32)
        if is_descending(shown, chosen):
            return chosen, shares
        by_share = descending(shown, chosen)
        return chosen[by_share], shares[by_share]


def majority(clusters: Rows) -> int:
    """The most frequent of some items' clusters, ties to the one that comes first; -1 = cluster unknown.

    A preference is kept as a few items; so it finds its interest again in another clustering.
    """
    known = clusters[clusters >= 0]
    if len(known) == 0:
        return -1
    found, first, count = np.unique(known, return_index=True, return_counts=True)
    return int(found[np.lexsort((first, -count))[0]])


def _among(clusters: Rows, others: Rows) -> NDArray[np.bool_]:
    """`np.isin`, which costs as much for nobody's preferences as for somebody's."""
    return np.isin(clusters, others) if len(others) else np.zeros(len(clusters), bool)


def _raised(shares: Shares, pinned: NDArray[np.bool_], floor: float) -> Shares:
    """Shares [M] scaled to the sum 1, none of the pinned below the floor (M * floor is at most 1)."""
    if not some(pinned):
        scaled = shares * (1.0 / max(float(shares.sum()), 1e-12))
        return scaled / max(float(scaled.sum()), 1e-12)
    low = np.zeros(len(shares), bool)
    while True:
        rest = 1.0 - floor * np.count_nonzero(low)
        scaled = np.where(low, floor, shares * (rest / max(float(shares[~low].sum()), 1e-12)))
        lower = pinned & ~low & (scaled < floor)
        if not lower.any():
            return scaled / max(float(scaled.sum()), 1e-12)
        low |= lower
