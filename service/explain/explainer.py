"""Answers `why`, one question at a time and off the thread that answers lists."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from service.engine import Engine
from service.errors import NotFound, Shed
from service.explain.codec import CorruptTrace, unpack_trace
from service.explain.journal import Journal
from service.explain.why import why

WAITING = 8
"""So many questions may wait for the one that is being answered; more are refused."""
_LOOKS_S = (0.0, 0.05, 0.2)
"""Pauses before each look for a trace: that of an answer just given, by any worker, is on its way."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the settings say of traces, for whoever asks for one that is not there."""

    share: float
    limit: int
    hours: float

    def __str__(self) -> str:
        if self.limit == 0:
            return "this service keeps no traces (trace_limit = 0)"
        unasked = f" and of {self.share:.3g} of all others" if self.share else ""
        return (
            f"traces are kept for {self.hours:g} hours, the newest {self.limit}, of answers that were asked "
            f"for with explain or trace{unasked}"
        )


class Explainer:
    """Finds the trace of an answer and says why an item is in it or not."""

    def __init__(
        self,
        find: Callable[[str], Awaitable[bytes | None]],
        journal: Journal,
        engine: Callable[[], Engine],
        kept: Kept,
        counterfactual_s: float,
    ) -> None:
        self._find = find
        self._journal = journal
        self._engine = engine
        self._kept = kept
        self._counterfactual_s = counterfactual_s
        self._lock = asyncio.Lock()
        self._waiting = 0

    async def why(self, request_id: str, item_id: str, counterfactual: bool) -> dict[str, Any]:
        """The body of `service.api.why_schemas.WhyOut`.

        Raises:
            NotFound: there is no such trace (any more), or no such item.
            NotReady: no bundle has gone through its warm-up yet.
            Shed: too many questions wait.
            StoreUnavailable: the store does not answer.
        """
        engine = self._engine()
        raw = await self._trace(request_id)
        if self._waiting >= WAITING:
            raise Shed(f"{WAITING} explanations wait already; try again in a moment")
        self._waiting += 1
        try:
            async with self._lock:
                return await asyncio.to_thread(self._why, raw, engine, request_id, item_id, counterfactual)
        finally:
            self._waiting -= 1

    async def _trace(self, request_id: str) -> bytes:
        await self._journal.flush()
        for pause_s in _LOOKS_S if self._kept.limit else ():
            await asyncio.sleep(pause_s)
            if (raw := await self._find(request_id)) is not None:
                return raw
        raise NotFound("trace of an answer", request_id, str(self._kept))

    def _why(
        self, raw: bytes, engine: Engine, request_id: str, item_id: str, counterfactual: bool
    ) -> dict[str, Any]:
        try:
            trace = unpack_trace(raw)
        except CorruptTrace as error:
            raise NotFound("trace of an answer", request_id, f"what is stored is {error}") from error
        return why(trace, engine, item_id, self._counterfactual_s if counterfactual else None)
