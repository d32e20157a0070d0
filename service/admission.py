"""Permits at the door: a bounded number of calls in progress, the others refused at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.errors import to_response
from service.errors import Shed
from service.metrics import Metrics


class Admission:
    """Counts calls in progress. Refusing costs microseconds, whereas waiting would cost memory and time."""

    def __init__(self, permits: int, metrics: Metrics) -> None:
        self._permits = permits
        self._metrics = metrics
        self._taken = 0

    @contextmanager
    def permit(self) -> Iterator[None]:
        """Hold a permit for the length of the block.

        Raises:
            Shed: all are taken.
        """
        if self._taken >= self._permits:
            self._metrics.shed.inc()
            raise Shed(f"{self._permits} calls are in progress; try again in a moment")
        self._taken += 1
        self._metrics.in_progress.set(self._taken)
        try:
            yield
        finally:
            self._taken -= 1
            self._metrics.in_progress.set(self._taken)


class Door:
    """Takes a permit for each call under /v1; health and metrics are never refused."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call, or refuse it with 503 and `Retry-After`."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        try:
            with self._admission.permit():
                await self._app(scope, receive, send)
        except Shed as refusal:
            await to_response(refusal)(scope, receive, send)
