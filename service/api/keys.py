"""Who may call: one of the configured keys as a bearer token."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.errors import problem


class Keyring:
    """The configured keys; without any, everybody may call. The `operator`'s token is a key, too."""

    def __init__(self, keys: Sequence[SecretStr], operator: SecretStr | None = None) -> None:
        known = [*keys, operator] if keys and operator is not None else keys
        self._keys = [key.get_secret_value().encode() for key in known]

    def admit(self, scope: Scope) -> bool:
        """Whether a call may come in."""
        if not self._keys:
            return True
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        kind, _, token = given.partition(b" ")
        # Every key is compared, so that the time tells nothing.
        hits = [hmac.compare_digest(token.strip(), key) for key in self._keys]
        return kind.lower() == b"bearer" and any(hits)


class KeyGate:
    """Lets calls under /v1 pass only with a known key."""

    def __init__(self, app: ASGIApp, keys: Keyring) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call, or refuse it with 401."""
        if scope["type"] == "http" and scope["path"].startswith("/v1/") and not self._keys.admit(scope):
            headers = {"WWW-Authenticate": "Bearer"}
            refusal = problem(401, "unauthorized", "Send a key as `Authorization: Bearer KEY`.", (), headers)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)
