from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from service.admission import Admission, Door
from service.errors import Shed
from service.metrics import Metrics


def test_no_more_permits_than_there_are_and_each_comes_back() -> None:
    admission = Admission(2, Metrics())
    with admission.permit(), admission.permit(), pytest.raises(Shed), admission.permit():
        pytest.fail("a third permit")
    with admission.permit(), admission.permit():
        pass


def test_a_failure_gives_its_permit_back() -> None:
    admission = Admission(1, Metrics())
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), admission.permit():
            raise ZeroDivisionError


async def test_what_is_too_much_is_refused_at_once_and_health_never() -> None:
    open_now = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith("/v1/"):
            await open_now.wait()
        await PlainTextResponse("done")(scope, receive, send)

    metrics = Metrics()
    transport = httpx.ASGITransport(Door(slow, Admission(2, metrics)))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        served = [asyncio.create_task(client.post("/v1/recommend")) for _ in range(2)]
        await asyncio.sleep(0)
        refused = await asyncio.wait_for(client.post("/v1/recommend"), 60)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["code"] == "overloaded"
        assert (await client.get("/healthz")).status_code == 200
        open_now.set()
        assert [(await one).status_code for one in served] == [200, 200]
        assert (await client.post("/v1/recommend")).status_code == 200
    assert metrics.shed._value.get() == 1
    assert metrics.registry.get_sample_value("cascada_in_progress") == 0
