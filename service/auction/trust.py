"""Whether a placement's calibrator can be trusted, and what prices are made with if not. Arithmetic alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ranking.calibration import Calibration, Calibrator, calibrator_from_json, calibrators
from ranking.choosing import Samples, choose_kind, judge_kinds
from ranking.reliability import Z999, Copc, copc_interval, losses
from ranking.samples import log_odds
from service.auction.observed import Sales

Doubles = NDArray[np.float64]

BUNDLE, PREVIOUS, REFIT = "bundle", "previous", "refit"
DISTRUSTED = "distrusted"
"""How answers call a calibrator that is used for want of a better one."""
DECILES = 10
LATER = 1 / 3
"""Share of the clicks, the newest, that judge a refit calibrator."""
_BISECTIONS = 60
_WIDEST = 60.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a calibrator is past trust: its COPC's 99.9% interval lies more than `tolerance` away from 1, on
    the newest sold impressions with `clicks` clicks; fewer than `least_clicks` say nothing."""

    tolerance: float = 0.2
    least_clicks: int = 50
    clicks: int = 300


@dataclass(frozen=True, slots=True)
class Standing:
    """What a placement prices with: `use` names the bundle's own, the bundle's previous one, or `refit`.

    `trusted` False: it is past the bounds, and nothing else is known. It is judged on impressions from
    `since_ms` on; an earlier world that it was not made for says nothing of it.
    """

    use: str = BUNDLE
    trusted: bool = True
    since_ms: int = 0
    refit: Calibrator | None = None

    @property
    def label(self) -> str | None:
        """What answers say; None = the bundle's own, and all is well."""
        if not self.trusted:
            return DISTRUSTED
        return None if self.use == BUNDLE else self.use

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        refit = None if self.refit is None else self.refit.to_json()
        return {"use": self.use, "trusted": self.trusted, "since_ms": self.since_ms, "refit": refit}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Standing:
        """The inverse of `to_json`.

        Raises:
            ValueError: it names what does not exist, or its calibrator does not rise or is not finite.
        """
        try:
            use, refit = str(raw["use"]), raw["refit"]
            found = None if refit is None else calibrator_from_json(refit)
            if use not in (BUNDLE, PREVIOUS, REFIT) or (use == REFIT and found is None):
                raise ValueError(f"there is no calibrator {use!r}")
            return cls(use, bool(raw["trusted"]), int(raw["since_ms"]), found)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"not a standing: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Calibrators:
    """Those that a placement could price with; each maps the ranker's logits."""

    bundle: Calibrator
    previous: Calibrator | None = None

    @classmethod
    def of(cls, calibration: Calibration, placement: str) -> Calibrators:
        """The bundle's for a placement."""
        before = calibration.previous
        return cls(calibration.at(placement), None if before is None else before.at(placement))

    def get(self, standing: Standing, use: str) -> Calibrator | None:
        """One by its name; None = there is none."""
        return {BUNDLE: self.bundle, PREVIOUS: self.previous, REFIT: standing.refit}[use]

    def used(self, standing: Standing) -> Calibrator:
        """What prices are made with."""
        return self.get(standing, standing.use) or self.bundle


@dataclass(frozen=True, slots=True)
class Cell:
    """Predicted against observed clicks of a bid decile, "1" to "10", or of "all"."""

    decile: str
    copc: Copc


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a standing, and the figures by which."""

    standing: Standing
    cells: tuple[Cell, ...] = field(default_factory=tuple)


def judge(standing: Standing, sales: Sales, known: Calibrators, bounds: Bounds) -> Verdict:
    """Keep the calibrator in use, or go to the first of these that what was just sold bears out: the last
    trusted ones, then one that is fitted anew."""
    logits = inverse(known.bundle, sales.pctr)
    recent = sales.newest(bounds.clicks, standing.since_ms)
    cells = tuple(by_decile(known.used(standing)(logits[-len(recent) :]), recent)) if len(recent) else ()
    if not cells or not _tells(cells[0].copc, bounds):
        return Verdict(standing, cells)
    latest = sales.newest(bounds.clicks)
    own = logits[-len(latest) :]
    if not cells[0].copc.beyond(bounds.tolerance):
        # The first fit after a change is of both worlds: it makes way for a better one as soon as it shows.
        if standing.use == REFIT and cells[0].copc.beyond(0.0):
            better = _borne_out(standing, known, latest, own, 0.0)
            standing = better or _anew(standing, known, latest, own, bounds) or standing
        return Verdict(replace(standing, trusted=True), cells)
    found = _borne_out(standing, known, latest, own, bounds.tolerance)
    found = found or _anew(standing, known, latest, own, bounds)
    return Verdict(found or replace(standing, trusted=False), cells)


def _borne_out(
    standing: Standing, known: Calibrators, sales: Sales, logits: Doubles, tolerance: float
) -> Standing | None:
    """The first other calibrator, of those that were trusted before, that sales do not contradict."""
    for use in (REFIT, BUNDLE, PREVIOUS):
        other = known.get(standing, use)
        if use != standing.use and other is not None:
            copc = copc_interval(float(other(logits).sum()), float(sales.clicked.sum()), Z999)
            if not copc.beyond(tolerance):
                return replace(standing, use=use, trusted=True, since_ms=0)
    return None


def _anew(
    standing: Standing, known: Calibrators, sales: Sales, logits: Doubles, bounds: Bounds
) -> Standing | None:
    found = refitted(known.used(standing), sales, logits, bounds)
    return None if found is None else Standing(REFIT, True, found[1], found[0])


def refitted(
    used: Calibrator, sales: Sales, logits: Doubles, bounds: Bounds
) -> tuple[Calibrator, int] | None:
    """A calibrator of the newest sales and the moment of the first of them; None = none that can be trusted.

    It is fitted on the older two thirds of the clicks and must hold on the newest third: within the bounds,
    and of less log loss than the one in use. Where all sales do not agree on one, the newer half may: the
    world may have changed in between.
    """
    clicks = bounds.clicks
    while clicks >= 3 * bounds.least_clicks:
        recent = sales.newest(clicks)
        own, clicks = logits[-len(recent) :], clicks // 2
        total = int(recent.clicked.sum())
        if total < 3 * bounds.least_clicks:
            continue
        cut = int(np.searchsorted(np.cumsum(recent.clicked), round(total * (1 - LATER)))) + 1
        older, later = Samples(own, recent.clicked.astype(np.float64)).cut(cut)
        judged = judge_kinds(older, later, sorted(calibrators))
        found = judged[choose_kind(judged, later)].calibrator
        copc = copc_interval(float(found(later.logits).sum()), float(later.labels.sum()), Z999)
        better = losses(later.labels, found(later.logits)) - losses(later.labels, used(later.logits))
        if not copc.beyond(bounds.tolerance) and float(better.mean()) < 0:
            return found, int(recent.time_ms[0])
    return None


def by_decile(chance: Doubles, sales: Sales) -> Iterator[Cell]:
    """All sales first, then by decile of their bids; deciles that no bid falls into are left out."""
    yield Cell("all", copc_interval(float(chance.sum()), float(sales.clicked.sum()), Z999))
    edges = np.quantile(sales.bid_micros, np.arange(1, DECILES) / DECILES)
    decile = np.searchsorted(edges, sales.bid_micros, side="right")
    for number in np.unique(decile).tolist():
        here = decile == number
        clicks = float(sales.clicked[here].sum())
        yield Cell(str(number + 1), copc_interval(float(chance[here].sum()), clicks, Z999))


def inverse(calibrator: Calibrator, probabilities: Doubles) -> Doubles:
    """The logits whose calibrated probabilities these are; by bisection, for every calibrator rises."""
    wanted = log_odds(np.clip(probabilities, 1e-9, 1 - 1e-9))
    low, high = np.full(len(wanted), -_WIDEST), np.full(len(wanted), _WIDEST)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        less = log_odds(np.clip(calibrator(middle), 1e-12, 1 - 1e-12)) < wanted
        low, high = np.where(less, middle, low), np.where(less, high, middle)
    found: Doubles = (low + high) / 2
    return found


def _tells(copc: Copc, bounds: Bounds) -> bool:
    return max(copc.clicks, copc.predicted) >= bounds.least_clicks
