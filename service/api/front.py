"""Calls for lists that came whole and fit are answered here, in front of the app and as it would answer them.

Nearly every call comes with its body in one read of the socket. Middleware around middleware around the
framework, each with a `send` of its own, costs such a call more than its own work there; here one function
does what they do: id, keys, door, permit, table of errors, log line and counts. Whatever else there is to
say - no key, too large, no JSON, a field that does not fit - the app says, which gets the call as it came.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope

from service.admission import Admission
from service.api.entrance import HEADER, REPLY, Register
from service.api.errors import to_response
from service.api.keys import Keyring
from service.api.shortcut import Direct, first, is_json
from service.errors import Shed
from service.logs import CONTEXT
from service.overload.doorkeeper import ANNOUNCED
from service.overload.pressure import Pressure
from service.parts import Parts

_HEADER = HEADER.encode()


class Front:
    """Of one app, with whose middleware it shares register, keys and permits; `limit` in bytes of a body."""

    def __init__(
        self,
        directs: Sequence[Direct],
        register: Register,
        keys: Keyring,
        admission: Admission,
        pressure: Pressure,
        limit: int,
        parts: Callable[[], Parts],
    ) -> None:
        self._directs: Mapping[str, Direct] = {direct.path: direct for direct in directs}
        self._register = register
        self._keys = keys
        self._admission = admission
        self._pressure = pressure
        self._limit = limit
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive) -> Receive | None:
        """Answer a call that was announced (`service.overload.doorkeeper`).

        None = it has its answer; else the app has to give one, to what is received by what is returned.
        """
        direct = self._directs.get(scope["path"])
        if not self._keys.admit(scope):
            self._forget(scope)
            return receive
        if direct is None or not is_json(scope):
            return receive
        message = await receive()
        raw = message.get("body", b"")
        if message["type"] != "http.request" or message.get("more_body", False) or len(raw) > self._limit:
            return first(message, receive)
        body = direct.read(raw)
        if body is None:
            return first(message, receive)
        await self._answer(direct, body, scope, receive)
        return None

    def _forget(self, scope: Scope) -> None:
        """The gate will refuse an announced call, which so never comes to the door."""
        del scope[ANNOUNCED]
        self._pressure.enter(announced=True)
        self._pressure.leave(0.0, answered=False)

    async def _answer(self, direct: Direct, body: BaseModel, scope: Scope, receive: Receive) -> None:
        call, status = self._register.call(scope), 499
        token = CONTEXT.set({"request_id": call.request_id})
        self._pressure.enter(announced=True)
        try:
            try:
                with self._admission.permit():
                    response = await direct.answer(body, scope, receive, self._parts)
                    status = response.status_code
                    await _reply(response, call.request_id, scope)
            except Shed as refusal:
                response = to_response(refusal)
                status = response.status_code
                await _reply(response, call.request_id, scope)
        finally:
            self._pressure.leave(time.monotonic() - call.arrived, status == HTTPStatus.OK)
            self._register.finish(scope, call, status)
            CONTEXT.reset(token)


async def _reply(response: Response, request_id: str, scope: Scope) -> None:
    headers = [*response.raw_headers, (_HEADER, request_id.encode("latin-1"))]
    await scope[REPLY](response.status_code, headers, response.body)
