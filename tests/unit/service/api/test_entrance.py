from __future__ import annotations

import logging

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.entrance import Entrance, Register, call_of
from service.errors import Shed
from service.logs import CONTEXT, add_context
from service.metrics import Metrics


async def get(app: ASGIApp, metrics: Metrics | None = None, **headers: str) -> httpx.Response:
    register = Register(metrics or Metrics(), access_log=True, new_id=lambda: "new-id")
    entrance = Entrance(app, register)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(entrance), base_url="http://test") as client:
        return await client.get("/v1/users/secret", headers=headers)


async def fine(scope: Scope, receive: Receive, send: Send) -> None:
    add_context(bundle_version="b1")
    await PlainTextResponse("fine")(scope, receive, send)


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise ZeroDivisionError("inside")


async def broken_late(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise ZeroDivisionError("inside")


async def test_a_call_has_an_id_everywhere(caplog: pytest.LogCaptureFixture) -> None:
    seen: dict[str, str] = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.requests import Request

        seen["call"] = call_of(Request(scope)).request_id
        seen["log"] = CONTEXT.get()["request_id"]
        await fine(scope, receive, send)

    answer = await get(app, **{"x-request-id": "mine"})
    assert (answer.headers["x-request-id"], seen) == ("mine", {"call": "mine", "log": "mine"})
    assert "request_id" not in CONTEXT.get()


async def test_a_defect_is_a_500_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    answer = await get(broken, metrics)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "new-id"
    assert "inside" not in answer.text
    assert any(record.exc_info for record in caplog.records)
    assert 'cascada_requests_total{route="unmatched",status="500"} 1.0' in metrics.render().decode()


async def test_a_defect_after_the_first_byte_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        await get(broken_late)


async def test_the_access_line_names_the_route_and_not_the_user(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cascada.access")
    await get(fine)
    (line,) = [record for record in caplog.records if record.name == "cascada.access"]
    assert (line.status, line.method, line.route) == (200, "GET", "unmatched")
    assert "secret" not in str(vars(line))


async def test_a_list_that_is_refused_before_it_has_a_route_counts_as_that_list() -> None:
    metrics = Metrics()

    async def full(scope: Scope, receive: Receive, send: Send) -> None:
        raise Shed("2 calls are before this one", 1.0)

    entrance = Entrance(full, Register(metrics, access_log=False))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(entrance), base_url="http://test") as client:
        assert (await client.post("/v1/recommend", json={})).status_code == 503
    assert 'cascada_requests_total{route="/v1/recommend",status="503"} 1.0' in metrics.render().decode()
