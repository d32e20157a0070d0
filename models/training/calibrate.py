"""Calibrate the ranker's logits on requests that no stage was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training.funnel import Pool
from ranking.calibration import Calibration, calibrators
from ranking.choosing import LATER, Judged, Samples, fit_calibration

Floats = NDArray[np.float32]


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
    name: str,
    logits: Sequence[Floats],
    pools: Sequence[Pool],
    times: NDArray[Any] | None = None,
    placements: Sequence[str] | None = None,
) -> tuple[Calibration, Mapping[str, Judged]]:
    """Fit the calibrator `name`, or for "auto" the one that `ranking.choosing.choose_kind` takes.

    Kinds are fitted on the older requests and judged on the later ones, by `times` [R], by default the order
    given; `placements` [R] are names: those with clicks enough have a calibrator of their own. Returns the
    calibration, fitted on all requests, and what each kind that was tried was worth on the later ones.

    Raises:
        ValueError: the name is unknown, or there is no request.
    """
    if name != "auto" and name not in calibrators:
        raise ValueError(f"unknown calibration {name!r}; known are auto, {', '.join(sorted(calibrators))}")
    order = np.arange(len(logits)) if times is None else np.argsort(times, kind="stable")
    values, labels, request = labelled([logits[r] for r in order], [pools[r] for r in order])
    where = None if placements is None else np.array([placements[r] for r in order])[request]
    samples = Samples(values.astype(np.float64), labels, where)
    # A request is never cut in two.
    cut = int(np.searchsorted(request, round(len(logits) * (1 - LATER))))
    kinds = sorted(calibrators) if name == "auto" else [name]
    return fit_calibration(samples, kinds, cut)
