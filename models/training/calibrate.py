"""Calibrate the ranker's logits on requests that no stage was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.training.funnel import Pool
from ranking.calibration import Calibrator, calibrators
from retrieval.metrics import log_loss

Floats = NDArray[np.float32]

FOLDS = 2


def labelled(
    logits: Sequence[Floats], pools: Sequence[Pool]
) -> tuple[Floats, NDArray[np.float64], NDArray[np.int64]]:
    """All ranked candidates in one column: logits, label 1 where the user went for it, and the request."""
    labels = [np.zeros(len(values)) for values in logits]
    for label, pool in zip(labels, pools, strict=True):
        if 0 <= pool.place < len(label):
            label[pool.place] = 1.0
    request = np.repeat(np.arange(len(logits)), [len(values) for values in logits])
    return np.concatenate(logits), np.concatenate(labels), request


def fit_calibrator(
    name: str, logits: Sequence[Floats], pools: Sequence[Pool]
) -> tuple[Calibrator, dict[str, float]]:
    """Fit the calibrator `name`, or for "auto" the one of least log loss on requests held out from its fit.

    Returns the calibrator, fitted on all requests, and the held-out log loss of each that was tried.

    Raises:
        ValueError: the name is unknown, or there is no request.
    """
    if name != "auto" and name not in calibrators:
        raise ValueError(f"unknown calibration {name!r}; known are auto, {', '.join(sorted(calibrators))}")
    values, labels, request = labelled(logits, pools)
    names = sorted(calibrators) if name == "auto" else [name]
    losses = {}
    for each in names:
        probability = np.empty(len(values))
        for fold in range(FOLDS):
            held_out = request % FOLDS == fold
            fitted = calibrators[each].fit(values[~held_out], labels[~held_out])
            probability[held_out] = fitted(values[held_out])
        losses[each] = log_loss(labels, probability)
    best = min(names, key=lambda each: losses[each])
    return calibrators[best].fit(values, labels), losses
