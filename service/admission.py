"""Permits at the door: a bounded number of calls in progress, the others refused at once."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Self

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.entrance import ARRIVED
from service.api.errors import to_response
from service.errors import Shed
from service.metrics import Metrics
from service.overload.doorkeeper import ANNOUNCED
from service.overload.pressure import LISTS, Pressure


class Admission:
    """Counts calls in progress. Refusing costs microseconds, whereas waiting would cost memory and time."""

    def __init__(self, permits: int, metrics: Metrics) -> None:
        self._permits = permits
        self._metrics = metrics
        self._taken = 0
        metrics.in_progress.set_function(lambda: self._taken)

    def count_refusal(self) -> None:
        """A call was refused at the door."""
        self._metrics.shed.inc()

    def permit(self) -> Self:
        """For `with`: hold a permit for the length of the block.

        Raises:
            Shed: all are taken.
        """
        return self

    def __enter__(self) -> None:
        if self._taken >= self._permits:
            self.count_refusal()
            raise Shed(f"{self._permits} calls are in progress; try again in a moment")
        self._taken += 1

    def __exit__(self, *_: object) -> None:
        self._taken -= 1


class Door:
    """Takes a permit for each call under /v1; health, metrics and bundles are never refused."""

    def __init__(self, app: ASGIApp, admission: Admission, pressure: Pressure | None = None) -> None:
        self._app = app
        self._admission = admission
        self._pressure = pressure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call, or refuse it with 503 and `Retry-After`."""
        path = scope["path"] if scope["type"] == "http" else ""
        # A rollback may be what ends the overload.
        if not path.startswith("/v1/") or path.startswith("/v1/bundles"):
            await self._app(scope, receive, send)
            return
        try:
            if self._pressure is not None and scope["path"] in LISTS and scope["method"] == "POST":
                await self._list(self._pressure, scope, receive, send)
                return
            with self._admission.permit():
                await self._app(scope, receive, send)
        except Shed as refusal:
            await to_response(refusal)(scope, receive, send)

    async def _list(self, pressure: Pressure, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        arrived = scope.get(ARRIVED) or time.monotonic()
        try:
            pressure.enter(scope.get(ANNOUNCED, False))
        except Shed:
            self._admission.count_refusal()
            raise
        try:
            with self._admission.permit():
                await self._app(scope, receive, watched)
        finally:
            pressure.leave(time.monotonic() - arrived, status == HTTPStatus.OK)
