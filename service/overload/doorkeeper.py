"""Refuses calls for lists before anything of them is parsed: what costs least when there is too much to do.

A refusal through the framework costs a quarter of a millisecond or more, and ten times too many calls would
spend the process on refusing. Here it is a search for the end of the head and one write.
"""

from __future__ import annotations

import asyncio
import math
import random
import socket
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.api.entrance import ACCEPTED, ARRIVED, LEFT, REPLY
from service.metrics import Metrics
from service.overload.pressure import LISTS, Pressure

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

ANNOUNCED = "cascada.announced"
"""In the scope of a call that the pressure has counted already."""
_STARTS = {f"POST {path} HTTP/1.1\r\n".encode(): path for path in LISTS}
_LONGEST = max(map(len, _STARTS))
_STAY_EXACT_S = 0.5
"""An idle connection may be closed so much earlier than uvicorn would."""
_END = b"\r\n\r\n"


class Doorkeeper(HttpToolsProtocol):
    """uvicorn's protocol, with a look at the first bytes; anything unusual goes the usual way."""

    pressure: ClassVar[Pressure]
    metrics: ClassVar[Metrics]

    _open = False
    """Whether a call has begun whose end has not been read."""

    _stays_from = -math.inf
    """When the time that an idle connection is kept was last counted from."""

    _eyes: socket.socket | None = None
    """The connection's socket, to look at and not to own."""

    _running: RequestResponseCycle | None = None
    """The call that has its turn; others may wait behind it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        seen = transport.get_extra_info("socket")
        self._eyes = socket.socket(seen.family, seen.type, seen.proto, seen.fileno())

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._eyes is not None:
            self._eyes.detach()
            self._eyes = None
        running = self._running
        # uvicorn tells only the newest call, and an answer to the one before would fail.
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
        super().connection_lost(exc)

    def left(self) -> bool:
        """Whether the client has gone, even if the event loop has not heard of it yet."""
        if self._eyes is None or self.transport.is_closing():
            return True
        try:
            return not self._eyes.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_message_begin(self) -> None:
        """See `httptools`."""
        self._open = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """See `httptools`."""
        self._open = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Refuse a whole call for a list if there are too many; else hand it on."""
        path = self._list_of(data)
        full = path is not None and self.pressure.full
        # What a client does not read must not pile up: a refusal by the app waits, and calls behind it too.
        if path is None or (full and self.flow.write_paused):
            super().data_received(data)
            return
        if full:
            self._refuse(path, data)
            return
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before and self.cycle is not None:
            scope: Any = self.cycle.scope
            self.pressure.announce()
            scope[ANNOUNCED] = True
            scope[LEFT] = self.left
            scope[REPLY] = partial(self._reply, self.cycle)
            scope[ARRIVED] = self.pressure.lag.arrived(time.monotonic())

    def _list_of(self, data: bytes) -> str | None:
        """The path, if these bytes are exactly one call for a list and the connection is idle."""
        if self._open or not data.startswith(b"POST /v1/"):
            return None
        if self.cycle is not None and not self.cycle.response_complete:
            return None
        path = _STARTS.get(data[: data.find(b"\r\n", 0, _LONGEST) + 2])
        if path is None or (end := data.find(_END)) < 0:
            return None
        return path if _length(data[:end].lower()) == len(data) - end - len(_END) else None

    async def _reply(
        self, cycle: RequestResponseCycle, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes
    ) -> None:
        """Answer a call in one write; uvicorn's `send`, which this stands for, writes head and body apart."""
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        fields = [b"%s: %s\r\n" % field for field in (*cycle.default_headers, *headers)]
        closing = b"" if cycle.keep_alive else b"connection: close\r\n"
        cycle.response_started = cycle.response_complete = True
        self.transport.write(b"".join((STATUS_LINE[status], *fields, closing, b"\r\n", body)))
        cycle.message_event.set()
        if closing:
            self.transport.close()
        cycle.on_response()

    def _refuse(self, path: str, data: bytes) -> None:
        head = data[: data.find(_END) + 2]
        lower = head.lower()
        request_id = _field(head, lower, b"\r\nx-request-id:").decode("latin-1")
        if not ACCEPTED.fullmatch(request_id):
            request_id = f"{random.getrandbits(128):032x}"  # names no list that anyone could lay claim to
        body = orjson.dumps(
            {
                "type": "about:blank",
                "title": "Service Unavailable",
                "status": 503,
                "detail": self.pressure.reason,
                "code": "overloaded",
                "request_id": request_id,
                "errors": [],
            }
        )
        closing = b"connection: close\r\n" if b"\r\nconnection: close\r\n" in lower else b""
        retry = round(self.pressure.retry_after_s + 0.5)
        self.transport.write(
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n"
            b"retry-after: %d\r\ncontent-length: %d\r\nx-request-id: %s\r\n%s\r\n%s"
            % (retry, len(body), request_id.encode("latin-1"), closing, body)
        )
        self.metrics.on_refused(path)
        if closing:
            self.transport.close()
        else:
            self._stay()

    def _stay(self) -> None:
        """Wait for the next call as long as after an answer; setting a timer costs a quarter of a refusal."""
        now = time.monotonic()
        if self.timeout_keep_alive_task is None or now - self._stays_from > _STAY_EXACT_S:
            self._stays_from = now
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )


def _length(lower: bytes) -> int:
    """What the head says of the body's length; -1 if it cannot be told."""
    if b"\r\ntransfer-encoding:" in lower or b"\r\nexpect:" in lower:
        return -1
    value = _field(lower, lower, b"\r\ncontent-length:")
    return int(value) if value.isdigit() else -1


def _field(head: bytes, lower: bytes, name: bytes) -> bytes:
    at = lower.find(name)
    if at < 0:
        return b""
    start = at + len(name)
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else None].strip()


def doorkeeper(pressure: Pressure, metrics: Metrics) -> type[Doorkeeper]:
    """The protocol of one app."""
    return type("Doorkeeper", (Doorkeeper,), {"pressure": pressure, "metrics": metrics})
