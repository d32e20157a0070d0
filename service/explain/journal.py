"""Which answers leave a trace, and how it gets into the store: after the answer, bounded, elsewhere."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable, Sequence

from service.cascade.query import Request
from service.effects import SideEffects
from service.explain.codec import pack_trace
from service.explain.trace import Recording
from service.features.traces import PackedTrace
from service.metrics import Metrics

_log = logging.getLogger("cascada.explain")

QUEUE = 64
"""Answers that wait for their trace to be packed; each holds its candidates' columns, about 200 kB."""
AT_ONCE = 8
"""So many of them are packed and stored at a time."""
LARGEST = 1_000_000
"""Bytes of a packed trace; a larger one (ten thousand long ids in one call) is not kept."""

Store = Callable[[Sequence[PackedTrace]], Awaitable[None]]


def is_chosen(request_id: str, share: float) -> bool:
    """Whether an answer is among the `share` that is traced unasked: the same in every process."""
    return share > 0 and zlib.crc32(request_id.encode()) < share * 2**32


class Journal:
    """Packs recordings on another thread and leaves them with `store`; counts what it cannot keep."""

    def __init__(self, store: Store, metrics: Metrics, share: float, keep: int) -> None:
        self._store = store
        self._metrics = metrics
        self._share = share if keep else 0.0
        self._keep = keep
        self._effects = SideEffects(self._write, metrics.traces, QUEUE, "keeping traces", AT_ONCE)

    def wants(self, request: Request, request_id: str) -> bool:
        """Whether the answer to a request is to be kept."""
        if self._keep == 0:
            return False
        return request.explain or request.trace or is_chosen(request_id, self._share)

    def submit(self, recording: Recording) -> None:
        """Leave an answer to be kept; returns at once."""
        self._effects.submit(recording)

    def start(self) -> None:
        """Begin to work off what is left here."""
        self._effects.start()

    async def flush(self) -> None:
        """Wait until what was submitted before is kept or dropped."""
        await self._effects.flush()

    async def stop(self, timeout_s: float) -> None:
        """Keep what is left, but wait no longer than this."""
        await self._effects.stop(timeout_s)

    async def _write(self, recordings: Sequence[Recording]) -> int:
        packed = await asyncio.to_thread(self._pack, recordings)
        await self._store(packed)
        return len(packed)

    def _pack(self, recordings: Sequence[Recording]) -> list[PackedTrace]:
        packed = []
        for one in recordings:
            try:
                content = pack_trace(one.trace())
            except Exception:
                # A defect here must not end the background: answers are worth more than their traces.
                self._metrics.traces.labels("failed").inc()
                _log.exception("an answer's trace cannot be packed", extra={"answer": one.query.request_id})
                continue
            if len(content) > LARGEST:
                self._metrics.traces.labels("too_large").inc()
                continue
            self._metrics.trace_bytes.inc(len(content))
            packed.append(PackedTrace(one.query.request_id, one.request.user_id, content))
        return packed
