"""Whole calls for lists are answered in front of the app, byte for byte as the app answers them."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from pydantic import SecretStr

from service.api.front import Front
from tests.support.live_service import live_service

KEY = "front-key"
MOST = 1_000


@pytest.fixture(scope="module")
def client(bundles: Path, redis_url: str) -> Iterator[httpx.Client]:
    with live_service(
        bundles=bundles,
        redis_url=redis_url,
        redis_prefix="front",
        api_keys=[SecretStr(KEY)],
        max_body_bytes=MOST,
        access_log=True,
    ) as client:
        client.headers["authorization"] = f"Bearer {KEY}"
        yield client


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the calls that the front answered."""
    paths: list[str] = []
    answer = Front._answer

    async def told(self: Front, direct: Any, *others: Any) -> None:
        paths.append(direct.path)
        await answer(self, direct, *others)

    monkeypatch.setattr(Front, "_answer", told)
    return paths


def raw(client: httpx.Client, path: str, body: bytes, *, whole: bool, **headers: str) -> tuple[str, bytes]:
    """Head and body of the answer to one call, whose body comes whole, or in chunks."""
    fields = {"host": "test", "authorization": f"Bearer {KEY}", "content-type": "application/json"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    fields |= {"content-length": str(len(body))} if whole else {"transfer-encoding": "chunked"}
    if not whole:
        body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    with socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=60) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        got = b""
        while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < _length(got):
            more = connection.recv(1 << 20)
            assert more, got
            got += more
    head_of, _, answer = got.partition(b"\r\n\r\n")
    return head_of.decode(), answer


def _length(got: bytes) -> int:
    found = re.search(rb"content-length: (\d+)", got)
    assert found, got
    return int(found[1])


LISTS = [
    ("/v1/recommend", b'{"user_id": "front", "count": 7}'),
    ("/v1/recommend", b'{"session": [{"item_id": "item-3"}], "count": 3, "diversity": 0.5}'),
    ("/v1/search", b'{"query": "number 3", "count": 4}'),
    ("/v1/similar", b'{"item_id": "item-4", "count": 4}'),
]
REFUSED = [
    ("/v1/recommend", b'{"cursor": "x"}', 422),
    ("/v1/similar", b'{"item_id": "nobody knows it"}', 404),
]


@pytest.mark.parametrize(("path", "body"), LISTS)
def test_the_answer_is_the_apps_byte_for_byte(
    client: httpx.Client, answered: list[str], path: str, body: bytes
) -> None:
    at_front = raw(client, path, body, whole=True, x_request_id="same")
    assert answered == [path]
    behind = raw(client, path, body, whole=False, x_request_id="same")
    by_route = raw(client, path, body, whole=True, x_request_id="same", content_type="application/a+json")
    assert answered == [path]
    assert at_front == behind == by_route
    assert at_front[0].startswith("HTTP/1.1 200 OK\r\n")
    assert "x-request-id: same" in at_front[0]
    assert orjson.loads(at_front[1])["items"]


@pytest.mark.parametrize(("path", "body", "status"), REFUSED)
def test_errors_are_those_of_the_one_table(
    client: httpx.Client, answered: list[str], path: str, body: bytes, status: int
) -> None:
    at_front = raw(client, path, body, whole=True, x_request_id="same")
    assert answered == [path]
    assert at_front == raw(client, path, body, whole=False, x_request_id="same")
    assert f" {status} " in at_front[0].splitlines()[0]


def test_a_caller_that_wants_to_close_is_told_so_and_gets_the_whole_answer_in_one_piece(
    client: httpx.Client, answered: list[str]
) -> None:
    path, body = LISTS[0]
    at_front = raw(client, path, body, whole=True, x_request_id="same", connection="close")
    assert answered == [path]
    assert at_front == raw(client, path, body, whole=False, x_request_id="same", connection="close")
    assert "connection: close" in at_front[0]

    head = f"host: test\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
    head += f"content-length: {len(body)}\r\nconnection: close\r\nx-request-id: same\r\n"
    with socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=60) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        got = connection.recv(1 << 20)
        assert got.partition(b"\r\n\r\n")[2] == at_front[1]
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"", {}, 422),
        (b'{"count": 0}', {}, 422),
        (b'{"count": NaN}', {}, 400),
        (b'{"unknown": 1}', {}, 422),
        (b'{"user_id": "a"}', {"content_type": "text/plain"}, 415),
        (b'{"user_id": "a"}', {"authorization": "Bearer another"}, 401),
        (b'{"exclude_items": ["%b"]}' % (b"x" * MOST), {}, 413),
    ],
)
def test_what_has_to_be_explained_is_left_to_the_app(
    client: httpx.Client, answered: list[str], body: bytes, headers: dict[str, str], status: int
) -> None:
    whole = raw(client, "/v1/recommend", body, whole=True, x_request_id="same", **headers)
    assert f" {status} " in whole[0].splitlines()[0]
    assert whole == raw(client, "/v1/recommend", body, whole=False, x_request_id="same", **headers)
    assert answered == []


def test_every_answer_is_counted_and_logged_once(
    client: httpx.Client, answered: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    def counted() -> dict[str, float]:
        lines = client.get("/metrics").text.splitlines()
        pairs = [line.rpartition(" ")[::2] for line in lines if not line.startswith("#")]
        return {name: float(value) for name, value in pairs}

    caplog.set_level(logging.INFO, "cascada.access")
    before = counted()
    calls = [(LISTS[0], 200)] * 5 + [(REFUSED[0][:2], 422)] * 2
    for (path, body), _ in calls:
        raw(client, path, body, whole=True)
    after = counted()
    for status, times in ((200, 5), (422, 2)):
        name = f'cascada_requests_total{{route="/v1/recommend",status="{status}"}}'
        assert after[name] - before.get(name, 0.0) == times
    name = 'cascada_request_seconds_count{route="/v1/recommend"}'
    assert after[name] - before.get(name, 0.0) == 7
    assert after["cascada_in_progress"] == 0.0
    lines = [record for record in caplog.records if getattr(record, "route", None) == "/v1/recommend"]
    assert [vars(line)["status"] for line in lines] == [200] * 5 + [422] * 2
    assert len(answered) == 7


def test_a_harmful_id_is_replaced(client: httpx.Client, answered: list[str]) -> None:
    path, body = LISTS[0]
    head, answer = raw(client, path, body, whole=True, x_request_id="a b")
    made = orjson.loads(answer)["request_id"]
    assert re.fullmatch("[0-9a-f]{32}", made)
    assert f"x-request-id: {made}" in head
    assert answered == [path]


def test_calls_without_a_key_take_nobodys_place(bundles: Path, redis_url: str) -> None:
    """They never come to the door, so the door must not go on expecting them."""
    path, body = LISTS[0]
    with live_service(
        bundles=bundles,
        redis_url=redis_url,
        redis_prefix="front-place",
        api_keys=[SecretStr(KEY)],
        latency_target_ms=1,
    ) as client:
        for _ in range(3):
            assert " 200 " in raw(client, path, body, whole=True)[0]
        for _ in range(500):
            assert " 401 " in raw(client, path, body, whole=True, authorization="Bearer another")[0]
        assert " 200 " in raw(client, path, body, whole=True)[0]


def test_a_defect_is_a_500_that_tells_nothing(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, answered: list[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr("service.api.context.render", broken)
    path, body = LISTS[0]
    head, answer = raw(client, path, body, whole=True, x_request_id="same")
    assert head.startswith("HTTP/1.1 500 ")
    assert orjson.loads(answer)["code"] == "defect"
    assert b"inside" not in answer
    assert (head, answer) == raw(client, path, body, whole=False, x_request_id="same")
    assert answered == [path]
