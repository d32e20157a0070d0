"""Which calibrator: fitted on older samples, chosen on later ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ranking.calibration import Calibration, Calibrator, calibrators
from ranking.reliability import calibration_error, losses

Doubles = NDArray[np.float64]

LATER = 0.4
"""Share of the samples, the newest, that judges."""
LEAST_CLICKS = 200
"""A placement with so many clicks has a calibrator of its own: each of its parts then has 80 and more."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Scores and labels [n] in order of time, and where each was shown; `placement` are names [n]."""

    logits: Doubles
    labels: Doubles
    placement: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.logits)

    def at(self, index: Any) -> Samples:
        """Some of them."""
        placement = None if self.placement is None else self.placement[index]
        return Samples(self.logits[index], self.labels[index], placement)

    def calibrated(self, calibration: Calibration) -> Doubles:
        """Each sample's probability [n] by the calibrator of its placement, as serving has it."""
        found = calibration.common(self.logits)
        if self.placement is not None:
            for name, own in calibration.placements.items():
                here = self.placement == name
                found[here] = own(self.logits[here])
        return found

    def cut(self, first: int) -> tuple[Samples, Samples]:
        """Those before a place, and the others."""
        return self.at(slice(None, first)), self.at(slice(first, None))


@dataclass(frozen=True, slots=True)
class Judged:
    """What a kind, fitted on the older samples, was worth on the later ones."""

    calibrator: Calibrator
    log_loss: float
    ece: float


def judge_kinds(older: Samples, later: Samples, kinds: Sequence[str]) -> Mapping[str, Judged]:
    """Each kind, fitted on the older samples and judged on the later ones.

    Raises:
        ValueError: there is nothing to fit, or to judge, on.
    """
    if not len(later):
        raise ValueError("there is no later sample to choose a calibrator on")
    found = {}
    for kind in kinds:
        fitted = calibrators[kind].fit(older.logits, older.labels)
        chance = fitted(later.logits)
        found[kind] = Judged(
            fitted,
            float(losses(later.labels, chance).mean()),
            calibration_error(later.labels, chance),
        )
    return found


def choose_kind(judged: Mapping[str, Judged], later: Samples) -> str:
    """Of the kinds whose log loss is at most a standard error above the least, the one of the least ECE.

    The error is that of the paired difference, so that kinds which the later samples cannot tell apart by log
    loss are told apart by what calibration is for (our choice).
    """
    best = min(judged, key=lambda kind: judged[kind].log_loss)
    least = losses(later.labels, judged[best].calibrator(later.logits))
    alike = []
    for kind, one in judged.items():
        surplus = losses(later.labels, one.calibrator(later.logits)) - least
        error = float(surplus.std() / np.sqrt(len(surplus)))
        if kind == best or float(surplus.mean()) <= error:
            alike.append(kind)
    return min(alike, key=lambda kind: judged[kind].ece)


def fit_calibration(
    samples: Samples, kinds: Sequence[str], cut: int | None = None
) -> tuple[Calibration, Mapping[str, Judged]]:
    """The calibration of samples in order of time: kinds chosen on the later ones, then fitted on all.

    `cut` is where the later samples begin, `LATER` of them by default. A placement with `LEAST_CLICKS` has
    its own, if that is better on its later samples than the common one.

    Raises:
        ValueError: there are no samples, or some are not finite.
    """
    cut = round(len(samples) * (1 - LATER)) if cut is None else cut
    older, later = samples.cut(min(max(cut, 1), max(len(samples) - 1, 1)))
    if not len(later):  # a single sample
        later = older
    judged = judge_kinds(older, later, kinds)
    chosen = choose_kind(judged, later)
    common = calibrators[chosen].fit(samples.logits, samples.labels)
    return Calibration(common, _own(samples, older, later, kinds, judged[chosen])), judged


def _own(
    samples: Samples, older: Samples, later: Samples, kinds: Sequence[str], common: Judged
) -> dict[str, Calibrator]:
    if samples.placement is None or older.placement is None or later.placement is None:
        return {}
    found: dict[str, Calibrator] = {}
    for name in np.unique(samples.placement).tolist():
        mine = samples.at(samples.placement == name)
        before, after = older.at(older.placement == name), later.at(later.placement == name)
        if mine.labels.sum() < LEAST_CLICKS or not before.labels.any() or not after.labels.any():
            continue
        judged = judge_kinds(before, after, kinds)
        best = choose_kind(judged, after)
        of_all = float(losses(after.labels, common.calibrator(after.logits)).mean())
        if judged[best].log_loss < of_all:
            found[str(name)] = calibrators[best].fit(mine.logits, mine.labels)
    return found
