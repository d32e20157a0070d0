"""The guard of click probabilities: is what slots were sold for what came of them?

Every worker follows the state in Redis; one of them, by a lease, reads the logs of answers and events, judges
each placement (`service.auction.trust`) and writes what prices are to be made with.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from service.auction.observed import Observed
from service.auction.pricing import JUDGES, Prices, calibrated
from service.auction.trust import Bounds, Calibrators, Cell, Standing, Verdict, judge
from service.background import Background
from service.bundle import Bundle
from service.cascade.candidates import Candidates
from service.errors import NotReady
from service.features.calibration_store import CalibrationStore
from service.features.store import StoreUnavailable
from service.logs import Outage
from service.metrics import Metrics

_log = logging.getLogger("cascada.calibration")
_PAGE = 1000
_PAGES = 50
"""Read at once at most of each log; what is left is read first next time, before anything is judged."""
_LEASE_INTERVALS = 3


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """How often it looks, and at what: answers in the window that are older than the delay."""

    interval_s: float = 10.0
    delay_s: float = 600.0
    window_s: float = 24 * 3600.0
    bounds: Bounds = field(default_factory=Bounds)


@dataclass(frozen=True, slots=True)
class _Recalibrated:
    """Prices by the ranker's logits."""

    calibrators: Calibrators
    standing: Standing

    @property
    def calibration(self) -> str | None:
        return self.standing.label

    def __call__(self, batch: Candidates, degraded: Collection[str]) -> NDArray[np.float64] | None:
        if "rank" not in batch.columns or any(stage in degraded for stage in JUDGES):
            return None
        return self.calibrators.used(self.standing)(batch["rank"])


class Guard:
    """The pricing of a service that watches its clicks; `bundle` is the one in use."""

    def __init__(
        self,
        store: CalibrationStore,
        metrics: Metrics,
        bundle: Callable[[], Bundle],
        limits: GuardLimits,
        click_event: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._bundle = bundle
        self._limits = limits
        self._click_event = click_event
        self._clock = clock
        self._who = uuid4().hex
        self._version = ""
        self._standings: Mapping[str, Standing] = {}
        self._observed: Observed | None = None
        self._read_to = {"answers": "0", "events": "0"}
        self._background = Background("calibration")
        self._outage = Outage(_log, "judging click probabilities")

    def at(self, bundle: Bundle, placement: str) -> Prices:
        """What prices are made with at a placement."""
        standing = self._standings.get(placement)
        if standing is None or bundle.version != self._version or standing.label is None:
            return calibrated
        return _Recalibrated(Calibrators.of(bundle.calibrator, placement), standing)

    def start(self) -> None:
        """Begin to watch."""
        self._background.start(self._follow())

    async def stop(self) -> None:
        """Watch no longer."""
        await self._background.stop()
        await self._store.close()

    async def look(self) -> None:
        """Follow the state, and judge if that is for this process to do.

        Raises:
            StoreUnavailable: Redis does not answer.
            NotReady: no bundle is in use yet.
        """
        bundle = self._bundle()
        self._use(bundle, await self._store.read(bundle.version))
        if await self._store.leads(self._who, _LEASE_INTERVALS * self._limits.interval_s):
            await self._judge(bundle)

    async def _judge(self, bundle: Bundle) -> None:
        now_ms = round(self._clock() * 1000)
        since_ms = now_ms - round(self._limits.window_s * 1000)
        observed = self._watching(bundle, since_ms)
        # Events first: a click that is logged meanwhile belongs to an answer that is not old enough.
        if not (
            await self._taken("events", self._store.events, observed.add_events)
            and await self._taken("answers", self._store.answers, observed.add_answers)
        ):
            return
        until_ms = now_ms - round(self._limits.delay_s * 1000)
        verdicts = await asyncio.to_thread(self._verdicts, bundle, observed, since_ms, until_ms)
        if verdicts:
            state = {
                "placements": {
                    name: one.standing.to_json() | {"cells": [_cell(cell) for cell in one.cells]}
                    for name, one in verdicts.items()
                }
            }
            await self._store.write(bundle.version, state)
            self._tell(verdicts)
            self._use(bundle, state)

    def _verdicts(
        self, bundle: Bundle, observed: Observed, since_ms: int, until_ms: int
    ) -> dict[str, Verdict]:
        sales = observed.sales(since_ms, until_ms + 1)
        found = {name: Verdict(standing) for name, standing in self._standings.items()}
        for name, mine in sales.items():
            known = Calibrators.of(bundle.calibrator, name)
            found[name] = judge(self._standings.get(name, Standing()), mine, known, self._limits.bounds)
        return found

    def _watching(self, bundle: Bundle, since_ms: int) -> Observed:
        if self._observed is None or self._observed.version != bundle.version:
            self._observed = Observed(bundle.version, self._click_event)
            self._read_to = dict.fromkeys(self._read_to, str(max(0, since_ms)))
        return self._observed

    async def _taken(self, log: str, read: Callable[[str, int], Any], add: Callable[[Any], None]) -> bool:
        """Whether a log was read to its end."""
        for _ in range(_PAGES):
            page = await read(self._read_to[log], _PAGE)
            if page:
                await asyncio.to_thread(add, page)
                self._read_to[log] = page[-1][0]
            if len(page) < _PAGE:
                return True
        return False

    def _use(self, bundle: Bundle, state: Mapping[str, Any] | None) -> None:
        """Price as the state says from now on; a placement that it says nonsense of, as the bundle does."""
        stored = {} if state is None else state.get("placements")
        standings: dict[str, Standing] = {}
        for name, raw in (stored if isinstance(stored, dict) else {}).items():
            try:
                standings[name] = Standing.from_json(raw)
                self._show(name, standings[name], raw.get("cells", ()))
            except ValueError as error:
                _log.error("a stored calibrator is refused", extra={"placement": name, "reason": str(error)})
        self._standings, self._version = standings, bundle.version

    def _show(self, placement: str, standing: Standing, cells: Collection[Mapping[str, Any]]) -> None:
        metrics = self._metrics
        for label in ("bundle", "previous", "refit", "distrusted"):
            in_use = (standing.label or "bundle") == label
            metrics.calibration_in_use.labels(placement, label).set(float(in_use))
        for cell in cells:
            labels = (placement, cell["decile"])
            metrics.calibration_predicted.labels(*labels).set(cell["predicted"])
            metrics.calibration_clicks.labels(*labels).set(cell["clicks"])
            for bound in ("low", "high"):
                value = float("inf") if cell[bound] is None else cell[bound]
                metrics.calibration_copc.labels(*labels, bound).set(value)
            if cell["clicks"]:
                value = cell["predicted"] / cell["clicks"]
                metrics.calibration_copc.labels(*labels, "value").set(value)

    def _tell(self, verdicts: Mapping[str, Verdict]) -> None:
        for name, verdict in verdicts.items():
            before, after = self._standings.get(name, Standing()), verdict.standing
            if (before.label, before.refit) == (after.label, after.refit):
                continue
            copc = verdict.cells[0].copc if verdict.cells else None
            self._metrics.calibration_changes.labels(name, after.label or "bundle").inc()
            _log.warning(
                "prices are made with another calibrator",
                extra={
                    "placement": name,
                    "before": before.label or "bundle",
                    "after": after.label or "bundle",
                    "predicted": None if copc is None else round(copc.predicted, 1),
                    "clicks": None if copc is None else copc.clicks,
                },
            )

    async def _follow(self) -> None:
        while True:
            try:
                await self.look()
                self._outage.ended()
            except NotReady:
                pass
            except StoreUnavailable as error:
                self._outage.began(error)
            except Exception as error:
                # A defect must not end the watch; prices stay as they are.
                self._outage.began(repr(error))
            await asyncio.sleep(self._limits.interval_s)


def _cell(cell: Cell) -> dict[str, Any]:
    """Plain JSON types; None = no limit."""
    copc = cell.copc
    high = copc.high if np.isfinite(copc.high) else None
    return {
        "decile": cell.decile,
        "predicted": copc.predicted,
        "clicks": copc.clicks,
        "low": copc.low,
        "high": high,
    }
