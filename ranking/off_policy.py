"""What another policy would have been worth, from what a randomised one showed and what was clicked.

Columns are over n places of lists: `rewards` [n] (a click is 1), `weights` [n] (how probable the other policy
makes this item at this place, over how probable it was: see `importance`), `groups` [n] (the request, or the
user, that a place belongs to: places of one group are not independent). A place where nothing was shown has
reward and weight 0. Estimates are means per place, right if a click depends on the item and its place alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating[Any]] | NDArray[np.bool_]
Groups = NDArray[np.integer[Any]]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value per place and its standard error, NaN where there is one group only."""

    value: float
    standard_error: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The interval that holds the true value with probability `level`, by the normal approximation."""
        reach = NormalDist().inv_cdf((1 + level) / 2) * self.standard_error
        return self.value - reach, self.value + reach

    def covers(self, truth: float, level: float = 0.95) -> bool:
        """Whether the interval holds the truth."""
        low, high = self.interval(level)
        return low <= truth <= high


def importance(target: Values, logged: Values, most: float = np.inf) -> Doubles:
    """target / logged [n], at most `most`: clipping trades variance for bias towards the logged policy.

    Raises:
        ValueError: a logged propensity is not above 0 and at most 1, or a target not within 0..1.
    """
    if not ((logged > 0) & (logged <= 1)).all():
        raise ValueError("a logged propensity is not above 0 and at most 1")
    if not ((target >= 0) & (target <= 1)).all():
        raise ValueError("a target probability is not within 0..1")
    return np.minimum(target.astype(np.float64) / logged, most)


def logged_value(rewards: Values, groups: Groups) -> Estimate:
    """The mean reward of the policy that was logged."""
    return _estimate(rewards.astype(np.float64), groups)


def ips(rewards: Values, weights: Values, groups: Groups) -> Estimate:
    """Inverse propensity scoring (Horvitz and Thompson 1952): the mean of weight * reward. Unbiased."""
    return _estimate(weights.astype(np.float64) * rewards, groups)


def snips(rewards: Values, weights: Values, groups: Groups) -> Estimate:
    """Self-normalised IPS (Swaminathan and Joachims, NeurIPS 2015): over the sum of weights instead of n.

    Biased by about 1 / n, of less variance. The standard error is the delta method's.

    Raises:
        ValueError: all weights are 0: the other policy shows nothing of what was logged.
    """
    weighted = weights.astype(np.float64)
    mean = float(weighted.mean())
    if mean == 0:
        raise ValueError("all weights are 0: the target shows nothing of what was logged")
    value = float((weighted * rewards).mean() / mean)
    return Estimate(value, _estimate(weighted * (rewards - value) / mean, groups).standard_error)


def doubly_robust(
    rewards: Values, weights: Values, predicted: Values, expected: Values, groups: Groups
) -> Estimate:
    """Doubly robust (Dudik, Langford and Li, ICML 2011): a model's value, put right where it was wrong.

    `predicted` [n] is the model's reward of what was shown, `expected` [n] that of the other policy at this
    place. Unbiased if the propensities are right, whatever the model; a better model has less variance. It
    must not have seen these rewards (`folds`).
    """
    return _estimate(expected + weights.astype(np.float64) * (rewards - predicted), groups)


def folds(groups: Groups, seed: int, count: int = 2) -> NDArray[np.int64]:
    """A fold [n] for each place, the same for a whole group: a model of one fold is used on the others."""
    names, number = np.unique(groups, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(names)) % count
    return np.asarray(fold[number], np.int64)


def _estimate(values: Doubles, groups: Groups) -> Estimate:
    """The mean of `values`, its error from the sums of the groups (a ratio of sums, linearised)."""
    mean = float(values.mean())
    _, number = np.unique(groups, return_inverse=True)
    off = np.bincount(number, weights=values - mean)
    if len(off) < 2:
        return Estimate(mean, float("nan"))
    return Estimate(mean, float(np.sqrt(len(off) / (len(off) - 1) * (off @ off)) / len(values)))
