"""In-slate Thompson sampling: a list of what may be best, given how little is known (arXiv 2104.15046).

What is uncertain is a factor on each item's click probability, with one posterior per item (our choice). The
factor is Gamma(k, k): mean 1, variance 1 / k. Clicks are rare, so k clicks that were seen and k that were
predicted make exactly that posterior of it (Gamma and Poisson are conjugate). k = prior + per_event * events,
with the events of an item that the bundle counted: an item without any has the prior's spread. Both numbers
are fitted on held-out requests (`models.training.posterior`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Positions = NDArray[np.intp]

SAMPLES = 251
"""Slates that a propensity is estimated from; above `MOST`, and prime, so that every stride is a turn."""
MOST = 200
"""The longest slate."""
POOL = 4
"""Of many items those compete whose optimistic score is among this many times the slate's size."""
_STRIDE = 89


@dataclass(frozen=True, slots=True)
class Posterior:
    """How sure a bundle is of an item's click probability: see the module."""

    prior: float
    per_event: float

    def __post_init__(self) -> None:
        numbers = (self.prior, self.per_event)
        if not (np.isfinite(numbers).all() and self.prior > 0 and self.per_event >= 0):
            raise ValueError(f"prior must be above 0 and per_event 0 or more, got {numbers}")

    def shape(self, events: NDArray[Any], width: float = 1.0) -> Doubles:
        """k [N] of items with so many `events` [N]; `width` stretches the standard deviation."""
        shape: Doubles = (self.prior + self.per_event * events.astype(np.float64)) / width**2
        return shape

    def to_json(self) -> dict[str, float]:
        """Plain JSON types."""
        return {"prior": self.prior, "per_event": self.per_event}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Posterior:
        """The inverse of `to_json`.

        Raises:
            ValueError: a number is missing, unknown or out of its range.
        """
        if set(raw) != {"prior", "per_event"}:
            raise ValueError(f"a posterior has prior and per_event, got {sorted(raw)}")
        return cls(float(raw["prior"]), float(raw["per_event"]))


def compete(scores: Floats, shape: Doubles, size: int) -> Positions:
    """The positions, in rising order, whose score two deviations up is among the best `POOL * size` of N.

    Scores that are not finite or not above 0 do not compete. Deterministic, so that what is left out has
    propensity 0 and the rest one that samples tell.
    """
    able = np.flatnonzero(np.isfinite(scores) & (scores > 0))
    optimistic = scores[able] * (1 + 2 / np.sqrt(shape[able]))
    best = np.lexsort((able, -optimistic))[: POOL * size]
    return np.sort(able[best])


def slate(scores: Floats, shape: Doubles, size: int, rng: np.random.Generator) -> Positions:
    """`size` positions of N items by their `scores` [N] above 0: one draw of `slates`."""
    size = min(size, len(scores), MOST)
    ranks = _ranks(scores, shape, size, rng)
    drawn: Positions = _interleaved([ranks[j : j + 1] for j in range(size)], size)[0]
    return drawn


def slates(scores: Floats, shape: Doubles, size: int, rng: np.random.Generator) -> Positions:
    """`SAMPLES` slates [SAMPLES, size], each distributed as in `slate`.

    To fill n places n posterior samples are drawn; their lists are interleaved rank by rank, and the first n
    distinct items are kept. Here `SAMPLES` posterior samples serve all slates in turn: each is once in each
    place of the interleaving, no slate has the same one twice.
    """
    size = min(size, len(scores), MOST)
    ranks = _ranks(scores, shape, SAMPLES, rng)
    return _interleaved([np.roll(ranks, -_STRIDE * j, axis=0) for j in range(size)], size)


def propensities(shown: Positions, sampled: Positions) -> Floats:
    """How probable each of `shown` [n] was at its own place, from S slates `sampled` [S, n].

    (1 + times seen there) / (1 + S): never 0, and the inverse has the mean (1 - (1 - p)^(S + 1)) / p for a
    true p where the slates are independent, so that weights are right but for what happens less often than
    one in S.
    """
    times = (sampled[:, : len(shown)] == shown).sum(axis=0)
    chance: Floats = ((1 + times) / (1 + len(sampled))).astype(np.float32)
    return chance


def _ranks(scores: Floats, shape: Doubles, samples: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """The rank [samples, N] of each item in each of so many posterior samples."""
    drawn = rng.standard_gamma(shape, (samples, len(shape))) * (scores / shape)
    order = np.argsort(-drawn, axis=1, kind="stable")
    ranks = np.empty(order.shape, np.int32)
    np.put_along_axis(ranks, order, np.arange(order.shape[1], dtype=np.int32)[None], axis=1)
    return ranks


def _interleaved(lists: list[NDArray[np.int32]], size: int) -> Positions:
    """The slates [S, size] of n lists for each, by ranks [S, N] in the j-th list.

    An item's place is the first time it comes up: the least rank * n + j over the lists.
    """
    first = lists[0] * np.int32(len(lists))
    for j, ranks in enumerate(lists[1:], 1):
        np.minimum(first, ranks * np.int32(len(lists)) + np.int32(j), out=first)
    return np.argsort(first, axis=1)[:, :size]
