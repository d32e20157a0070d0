"""Where every call comes in and goes out: its id, its clock, its log line, its counts, its last catch."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.errors import to_response
from service.logs import CONTEXT
from service.metrics import Metrics
from service.overload.pressure import LISTS

KEY = "cascada.call"
HEADER = "x-request-id"
_HEADER = HEADER.encode()
ARRIVED = "cascada.arrived"
"""In the scope of a call whose arrival is known better than by when its turn in the loop came."""
LEFT = "cascada.left"
"""In the scope of a call whose client can be looked after for nothing: tells whether it has gone."""
REPLY = "cascada.reply"
"""In the scope of a call whose answer can be sent as a whole: takes status, headers and body."""
ACCEPTED = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_log = logging.getLogger("cascada.access")


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of a call before its body is read; `arrived` is a moment on `time.monotonic()`."""

    request_id: str
    arrived: float = field(default_factory=time.monotonic)


def call_of(connection: HTTPConnection) -> Call:
    """The call that a request belongs to."""
    call: Call = connection.scope[KEY]
    return call


def new_id() -> str:
    """The id of a call whose caller gave none: 32 random hexadecimal digits."""
    return os.urandom(16).hex()


class Register:
    """What is kept of every call: its id, its log line, its counts."""

    def __init__(self, metrics: Metrics, access_log: bool, new_id: Callable[[], str] = new_id) -> None:
        self._metrics = metrics
        self._access_log = access_log
        self._new_id = new_id

    def call(self, scope: Scope) -> Call:
        """The call that begins, noted in its `scope`. A caller's `X-Request-Id` is kept if it is harmless."""
        call = scope[KEY] = Call(self._request_id(scope), scope.get(ARRIVED) or time.monotonic())
        return call

    def finish(self, scope: Scope, call: Call, status: int) -> None:
        """The call has its answer."""
        seconds = time.monotonic() - call.arrived
        # The template and not the path, which may hold a user's id. A list may be refused before routing.
        unrouted = scope["path"] if scope["path"] in LISTS else "unmatched"
        route = getattr(scope.get("route"), "path", unrouted)
        self._metrics.requests.labels(route, status).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        if self._access_log:
            fields = {"method": scope["method"], "route": route, "status": status}
            _log.info("call", extra={**fields, "duration_ms": round(seconds * 1000, 2)})

    def _request_id(self, scope: Scope) -> str:
        for name, value in scope["headers"]:
            if name == _HEADER and ACCEPTED.fullmatch(text := str(value, "latin-1")):
                return text
        return self._new_id()


class Entrance:
    """The outermost middleware."""

    def __init__(self, app: ASGIApp, register: Register) -> None:
        self._app = app
        self._register = register

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call; a failure inside becomes a 500 with a problem body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = self._register.call(scope)
        token = CONTEXT.set({"request_id": call.request_id})
        status = 499

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = call.request_id
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except Exception as error:
            if status != 499:
                raise
            await to_response(error)(scope, receive, answer)
        finally:
            self._register.finish(scope, call, status)
            CONTEXT.reset(token)
