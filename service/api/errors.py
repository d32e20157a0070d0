"""The one table from error classes to HTTP, and the one form of every error: `application/problem+json`."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from models.artifacts import BundleError
from service.errors import (
    CallerError,
    ClientGone,
    Conflict,
    ContractViolation,
    Degraded,
    Forbidden,
    NotFound,
    NotReady,
    OperatorError,
    Shed,
)
from service.features.store import StoreUnavailable
from service.logs import CONTEXT

PROBLEM = "application/problem+json"
_MOST_ERRORS = 20
_log = logging.getLogger("cascada.api")


@dataclass(frozen=True, slots=True)
class Rule:
    """How one class of errors looks from outside; `detail` None = the error's own words."""

    status: HTTPStatus
    code: str
    detail: str | None = None
    retry_after_s: float | None = None


TABLE: Mapping[type[Exception], Rule] = {
    CallerError: Rule(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid"),
    NotFound: Rule(HTTPStatus.NOT_FOUND, "not-found"),
    Forbidden: Rule(HTTPStatus.FORBIDDEN, "forbidden"),
    Conflict: Rule(HTTPStatus.CONFLICT, "conflict"),
    Shed: Rule(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", retry_after_s=1),
    NotReady: Rule(HTTPStatus.SERVICE_UNAVAILABLE, "not-ready", retry_after_s=1),
    StoreUnavailable: Rule(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "store-unavailable",
        "The feature store did not answer; nothing was acknowledged, so the call may be repeated.",
        retry_after_s=1,
    ),
    ClientGone: Rule(HTTPStatus.REQUEST_TIMEOUT, "client-gone"),
    Degraded: Rule(HTTPStatus.SERVICE_UNAVAILABLE, "part-unavailable", retry_after_s=5),
    OperatorError: Rule(HTTPStatus.INSUFFICIENT_STORAGE, "operator"),
    BundleError: Rule(HTTPStatus.CONFLICT, "bad-bundle"),
    ContractViolation: Rule(HTTPStatus.INTERNAL_SERVER_ERROR, "defect", "A defect of this service."),
    Exception: Rule(HTTPStatus.INTERNAL_SERVER_ERROR, "defect", "A defect of this service."),
}
"""The first class in an error's own ancestry that is listed here decides."""

_CODES = {
    400: "bad-request",
    401: "unauthorized",
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
}


def problem(
    status: int,
    code: str,
    detail: str,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """One error body; the request's id comes from the log context."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": CONTEXT.get().get("request_id", ""),
        "errors": list(errors[:_MOST_ERRORS]),
    }
    return Response(orjson.dumps(body), status, headers, PROBLEM)


def to_response(error: Exception) -> Response:
    """The answer to any error that this service raises."""
    rule = next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)
    if rule.status >= HTTPStatus.INTERNAL_SERVER_ERROR and rule.code in ("defect", "operator"):
        _log.error("request failed", exc_info=error, extra={"code": rule.code})
    wait = getattr(error, "retry_after_s", rule.retry_after_s)
    headers = None if wait is None else {"Retry-After": str(max(1, math.ceil(wait)))}
    errors = [{"path": error.path, "message": error.message}] if isinstance(error, CallerError) else []
    return problem(rule.status, rule.code, rule.detail or str(error), errors, headers)


def install_errors(app: FastAPI) -> None:
    """Make every error of the app a problem body."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for kind in TABLE:
        app.add_exception_handler(kind, _listed)


async def _listed(request: Request, error: Exception) -> Response:
    return to_response(error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if found and found[0]["type"] == "json_invalid":
        position, reason = found[0]["loc"][-1], found[0]["ctx"]["error"]
        return problem(400, "malformed-json", f"The body is not JSON: {reason} (at character {position}).")
    if any(one["loc"] == ("body",) and isinstance(one.get("input"), bytes) for one in found):
        return problem(415, _CODES[415], "Send JSON with `Content-Type: application/json`.")
    errors = [{"path": path_of(one["loc"]), "message": one["msg"]} for one in found[:_MOST_ERRORS]]
    count = f"{len(found)} fields are" if len(found) > 1 else "A field is"
    return problem(422, "invalid", f"{count} not valid; `errors` says which, and why.", errors)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return http_problem(error)


def http_problem(error: HTTPException) -> Response:
    """The answer to what the framework or a middleware refuses."""
    code = _CODES.get(error.status_code, "http")
    return problem(error.status_code, code, str(error.detail), (), error.headers)


def path_of(location: Sequence[Any]) -> str:
    """Where a bad field is, as in `items[0].item_id`; the whole body is the empty path."""
    path = ""
    for part in location[1:] if location and location[0] in ("body", "path", "query", "header") else location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path
