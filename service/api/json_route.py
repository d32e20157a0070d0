"""A route whose body orjson reads: faster, and strict where Python's parser lets NaN and Infinity pass."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response


class _JsonRequest(Request):
    async def json(self) -> Any:
        """The parsed body; orjson's error is a `json.JSONDecodeError`, which becomes a 400."""
        return orjson.loads(await self.body())


class JsonRoute(APIRoute):
    """For `APIRouter(route_class=...)`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, given the strict request."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(_JsonRequest(request.scope, request.receive))

        return strict


class JsonResponse(Response):
    """Content serialised by orjson; NaN becomes null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes of the body."""
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
