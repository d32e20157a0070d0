"""Fit how sure click probabilities are: how far items' clicks stray from what was predicted for them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from models.training.calibrate import labelled
from models.training.funnel import Pool
from ranking.calibration import Calibration
from ranking.thompson import Posterior

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

PRIORS: Doubles = np.logspace(-2, 4, 49)
PER_EVENT: Doubles = np.concatenate([[0.0], np.logspace(-3, 1, 33)])


def fit_posterior(
    calibrator: Calibration,
    logits: Sequence[Floats],
    pools: Sequence[Pool],
    placements: NDArray[np.integer[Any]],
    popularity: Floats,
) -> Posterior:
    """The posterior of the items that held-out requests [R] ranked, each at one of `placements` [R].

    `popularity` [placements, m] are decayed event counts of before those requests, as serving reads them.
    """
    values, labels, request = labelled(logits, pools)
    rows = np.concatenate([pool.rows[: len(each)] for pool, each in zip(pools, logits, strict=True)])
    cell = placements[request].astype(np.int64) * popularity.shape[1] + rows
    met, number = np.unique(cell, return_inverse=True)
    clicks = np.bincount(number, weights=labels).astype(np.float64)
    predicted = np.bincount(number, weights=calibrator(values)).astype(np.float64)
    return fit_counts(clicks, predicted, popularity.ravel()[met].astype(np.float64))


def fit_counts(clicks: Doubles, predicted: Doubles, events: Doubles) -> Posterior:
    """The greatest marginal likelihood over a grid, for items with [N] clicks, predicted clicks and events.

    An item's clicks are Poisson with mean factor * predicted; under a Gamma(k, k) factor that is a negative
    binomial. Items that are predicted exactly have the largest prior of the grid, which explores next to
    nothing.
    """
    grid = [Posterior(float(prior), float(slope)) for prior, slope in product(PRIORS, PER_EVENT)]
    return max(grid, key=lambda each: _log_likelihood(clicks, predicted, each.shape(events)))


def _log_likelihood(clicks: Doubles, predicted: Doubles, shape: Doubles) -> float:
    """Without the terms that do not depend on the shape."""
    total = shape + np.maximum(predicted, 1e-12)
    own = gammaln(shape + clicks) - gammaln(shape) - shape * np.log1p(predicted / shape)
    return float((own - clicks * np.log(total)).sum())
