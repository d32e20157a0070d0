"""No body larger than allowed is read, whether it says its length or not."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.errors import problem


class BodyLimit:
    """Refuses bodies above `limit` bytes with 413; `paths` have limits of their own."""

    def __init__(self, app: ASGIApp, limit: int, paths: Mapping[str, int]) -> None:
        self._app = app
        self._limit = limit
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call; a body that announces too much is refused unread."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._paths.get(scope["path"], self._limit)
        if _announced(scope) > limit:
            # Closing spares both sides the rest of the body.
            refusal = problem(413, "too-large", _sentence(limit), (), {"Connection": "close"})
            await refusal(scope, receive, send)
            return
        total = 0

        async def bounded() -> Message:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            if total > limit:
                raise HTTPException(413, _sentence(limit), {"Connection": "close"})
            return message

        await self._app(scope, bounded, send)


def _announced(scope: Scope) -> int:
    value = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(value) if value.isdigit() else 0


def _sentence(limit: int) -> str:
    return f"The body has more than the {limit:,} bytes that are allowed here."
