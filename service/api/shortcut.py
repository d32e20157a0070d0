"""Well-formed calls for lists, answered without the framework in between.

Routing, dependencies and the framework's own reading of a body cost more than a search of the index. A call
that needs an explanation - another method or content type, a body that is no JSON or does not fit - goes on
to its route, which is the same function with documentation and error messages around it.

Calls that come whole are answered by the front (`service.api.front`) already; what comes here came in pieces,
or from another server than ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import orjson
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.entrance import KEY
from service.api.errors import http_problem, to_response
from service.parts import Parts

Endpoint = Callable[..., Awaitable[Response]]
_JSON = (b"application/json", b"application/json; charset=utf-8")


@dataclass(frozen=True, slots=True)
class Direct:
    """The endpoint of a path and the body that it takes; stands for the route in `scope`."""

    path: str
    body: type[BaseModel]
    endpoint: Endpoint

    def read(self, raw: bytes) -> BaseModel | None:
        """The body of a call; None = it has to be told what is wrong with it."""
        try:
            return self.body.model_validate(orjson.loads(raw))
        except (orjson.JSONDecodeError, ValidationError):
            return None

    async def answer(
        self, body: BaseModel, scope: Scope, receive: Receive, parts: Callable[[], Parts]
    ) -> Response:
        """What the route would answer; never raises an error of the service."""
        scope["route"] = self
        try:
            return await self.endpoint(body, Request(scope, receive), scope[KEY], parts())
        except Exception as error:  # the table of errors decides, as it does on a route
            return to_response(error)


class Shortcut:
    """The innermost middleware: behind the door, the keys and the limit of a body."""

    def __init__(self, app: ASGIApp, directs: tuple[Direct, ...]) -> None:
        self._app = app
        self._directs: Mapping[str, Direct] = {direct.path: direct for direct in directs}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call, or pass it on as it came."""
        direct = self._directs.get(scope["path"]) if scope["type"] == "http" else None
        if direct is None or scope["method"] != "POST" or not is_json(scope):
            await self._app(scope, receive, send)
            return
        try:
            raw = await _body(receive)
        except HTTPException as error:
            await http_problem(error)(scope, receive, send)
            return
        if raw is None:
            return
        body = direct.read(raw)
        if body is None:
            await self._app(scope, first({"type": "http.request", "body": raw}, receive), send)
            return
        response = await direct.answer(body, scope, receive, lambda: scope["app"].state.parts)
        await response(scope, receive, send)


def is_json(scope: Scope) -> bool:
    """Whether a call says that its body is JSON."""
    return any(name == b"content-type" and value.lower() in _JSON for name, value in scope["headers"])


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None = the client has gone."""
    message = await receive()
    parts = [message.get("body", b"")]
    while message.get("more_body", False):
        message = await receive()
        parts.append(message.get("body", b""))
    if message["type"] == "http.disconnect":
        return None
    return parts[0] if len(parts) == 1 else b"".join(parts)


def first(message: Message, receive: Receive) -> Receive:
    """A `receive` that gives a message that was received before, then whatever comes."""
    messages = [message]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
