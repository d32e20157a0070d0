"""Who may change what is served: the operator, by a token of their own."""

from __future__ import annotations

import hmac

from fastapi import Depends, Request

from service.api.context import PartsOf
from service.errors import Forbidden


async def _operator(request: Request, parts: PartsOf) -> None:
    """Let the operator pass.

    Raises:
        Forbidden: no token is configured, or the call does not have it.
    """
    token = parts.settings.operator_token
    if token is None:
        raise Forbidden(
            "calls that change what is served are off: set CASCADA_OPERATOR_TOKEN, and send it as "
            "`Authorization: Bearer TOKEN`"
        )
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    same = hmac.compare_digest(given.strip().encode("latin-1"), token.get_secret_value().encode())
    if kind.lower() != "bearer" or not same:
        raise Forbidden("send the operator's token (CASCADA_OPERATOR_TOKEN) as `Authorization: Bearer TOKEN`")


OperatorOnly = Depends(_operator)
"""A dependency of routes that only the operator may call."""
