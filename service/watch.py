"""The cascade's observer in service: counts everything, and logs why stages fall back, but not every time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from service.metrics import Metrics

QUIET_S = 10.0
_log = logging.getLogger("cascada.cascade")


class Watch(Metrics):
    """Metrics that also log the error of a stage: the first, and after that one in `QUIET_S` seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._silent_until: dict[tuple[str, str], float] = {}

    def on_degraded(self, cascade: str, stage: str, reason: str, error: BaseException | None) -> None:
        """See `service.cascade.observe.Observer`."""
        super().on_degraded(cascade, stage, reason, error)
        now = self._clock()
        if error is not None and now >= self._silent_until.get((cascade, stage), now):
            self._silent_until[cascade, stage] = now + QUIET_S
            extra = {"cascade": cascade, "stage": stage, "reason": reason}
            _log.warning("a stage fell back", exc_info=error, extra=extra)
