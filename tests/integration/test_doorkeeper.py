"""What one connection may do to the door: not read, leave, close, pipeline, idle, and go on being refused.

The server and the door are the real ones; the app behind them answers with as many bytes as a call asks for.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import orjson
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from service.admission import Admission, Door
from service.api.entrance import REPLY, Entrance, Register
from service.metrics import Metrics
from service.overload.doorkeeper import Doorkeeper, doorkeeper
from service.overload.pressure import Pressure
from service.process import Server

PATIENCE_S = 60.0
BIG = 1 << 20
"""Bytes of an answer that no buffer on its way holds."""
KEPT_S = 3600
"""An idle connection is kept for so long where a test is not about that."""


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def content(name: str, size: int) -> bytes:
    return (f"{name} ".encode() * size)[:size]


class Answers:
    """The app: notes the names of the calls that began, that were answered whole and that are over."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.whole: list[str] = []
        self.over: list[str] = []
        self.held: set[str] = set()

    def began(self, name: str) -> bool:
        return name in self.begun

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = (await receive())["body"]
        asked = orjson.loads(raw) if raw else {"name": scope["path"], "size": 20}
        name, body = asked["name"], content(asked["name"], asked["size"])
        self.begun.append(name)
        while name in self.held:
            await asyncio.sleep(0.002)
        headers = [(b"content-length", b"%d" % len(body))]
        if REPLY in scope:
            self.whole.append(name)
            await scope[REPLY](200, headers, body)
        else:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        self.over.append(name)


class Caller:
    """One connection; what it does not read fills its buffers soon."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(("127.0.0.1", port))
        self._file = self.socket.makefile("rb")

    def ask(self, *calls: bytes) -> None:
        self.socket.sendall(b"".join(calls))

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next answer; no header comes twice."""
        status = int(self._file.readline().split()[1])
        pairs = [line.decode().rstrip().split(": ", 1) for line in iter(self._file.readline, b"\r\n")]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs)
        return status, headers, self._file.read(int(headers["content-length"]))

    def gets(self, name: str, size: int = 20) -> dict[str, str]:
        """The headers of the next answer, which is whole and to the call of this name."""
        status, headers, body = self.answer()
        assert (status, body) == (200, content(name, size))
        return headers

    @property
    def closed(self) -> bool:
        """Whether nothing comes any more; waits for that."""
        return self._file.read(1) == b""

    def close(self) -> None:
        self._file.close()
        self.socket.close()


def call(name: str, size: int = 20, *, version: str = "1.1", **headers: str) -> bytes:
    body = orjson.dumps({"name": name, "size": size})
    fields = {"host": "test", "content-length": str(len(body)), "x-request-id": name, **headers}
    head = "".join(f"{field}: {value}\r\n" for field, value in fields.items())
    return f"POST /v1/recommend HTTP/{version}\r\n{head}\r\n".encode() + body


OTHER = b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n"


class World:
    """A server, its app and its callers."""

    def __init__(self, server: Server, app: Answers, pressure: Pressure, metrics: Metrics, port: int) -> None:
        self.server, self.app, self.pressure, self.metrics = server, app, pressure, metrics
        self._port = port
        self._callers: list[Caller] = []

    def caller(self) -> Caller:
        self._callers.append(Caller(self._port))
        return self._callers[-1]

    def door(self, caller: Caller) -> Doorkeeper:
        """The server's side of a connection."""
        address = caller.socket.getsockname()
        until(lambda: any(one.client == address for one in list(self.server.server_state.connections)))
        (one,) = (one for one in list(self.server.server_state.connections) if one.client == address)
        assert isinstance(one, Doorkeeper)
        return one

    def fill(self) -> None:
        """Let in two slow calls that never end: all others are refused."""
        self.pressure.cohorts.learn(1000.0)
        for _ in range(2):
            self.pressure.announce()
        assert self.pressure.full

    def empty(self) -> None:
        """The two have left."""
        for _ in range(2):
            self.pressure.enter(announced=True)
            self.pressure.leave(0.0, answered=False)
        assert not self.pressure.full

    @property
    def no_call(self) -> bool:
        """Whether no call is in progress, and none counts as such."""
        return self.pressure.reason.startswith("0 calls ") and not self.server.server_state.tasks

    def has_refused(self, count: int) -> bool:
        """Whether so many calls were refused, neither more nor less."""
        labels = {"route": "/v1/recommend", "status": "503"}
        return (self.metrics.registry.get_sample_value("cascada_requests_total", labels) or 0) == count

    def close(self) -> None:
        for caller in self._callers:
            caller.close()


@contextmanager
def served(keep_alive_s: int = KEPT_S) -> Iterator[World]:
    metrics, app = Metrics(), Answers()
    pressure = Pressure(metrics, target_ms=60_000.0, least_quality=1.0)
    door = Door(app, Admission(1000, metrics), pressure)
    config = uvicorn.Config(
        Entrance(door, Register(metrics, access_log=False)),
        http=doorkeeper(pressure, metrics),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=keep_alive_s,
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        server = Server(config, listener)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        world = World(server, app, pressure, metrics, listener.getsockname()[1])
        try:
            yield world
        finally:
            app.held.clear()
            world.close()
            server.should_exit = True
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


@pytest.fixture
def world(caplog: pytest.LogCaptureFixture) -> Iterator[World]:
    """A server that has nothing to complain of."""
    with served() as world:
        yield world
    assert [record for record in caplog.get_records("call") if record.levelno >= logging.WARNING] == []


def unread(world: World) -> tuple[Caller, Doorkeeper]:
    """A caller who reads nothing of a big answer."""
    caller = world.caller()
    door = world.door(caller)
    caller.ask(call("big", BIG))
    until(lambda: "big" in world.app.over and door.flow.write_paused)
    return caller, door


def test_an_answer_waits_for_a_caller_who_does_not_read_and_nobody_else_does(world: World) -> None:
    caller, door = unread(world)
    caller.ask(call("next"))
    until(lambda: "next" in world.app.whole)
    caller.ask(call("third"))
    until(lambda: len(door.pipeline) == 1)
    other = world.caller()
    for name in ("other", "another"):
        other.ask(call(name))
        other.gets(name)
    assert door.flow.write_paused
    assert "next" not in world.app.over

    caller.gets("big", BIG)
    for name in ("next", "third"):
        caller.gets(name)
    caller.ask(call("after"))
    caller.gets("after")
    until(lambda: world.no_call)
    assert world.app.whole == ["big", "next", "other", "another", "after"]
    assert world.app.over[-3:] == ["next", "third", "after"]
    assert not door.flow.write_paused


@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize(("asked", "name"), [(call("next"), "next"), (OTHER, "/healthz")])
def test_an_answer_does_not_wait_for_a_caller_who_left(
    world: World, asked: bytes, name: str, pipelined: bool
) -> None:
    caller, door = unread(world)
    caller.ask(asked)
    until(lambda: name in world.app.begun)
    if pipelined:
        caller.ask(call("third"))
        until(lambda: len(door.pipeline) == 1)
    caller.close()
    until(lambda: name in world.app.over and world.no_call)
    assert door not in world.server.server_state.connections
    assert not door.cycle.response_complete
    assert world.app.begun == ["big", name]
    other = world.caller()
    other.ask(call("other"))
    other.gets("other")


@pytest.mark.parametrize("size", [20, BIG])
def test_a_call_that_wants_to_close_gets_its_whole_answer_first(world: World, size: int) -> None:
    caller = world.caller()
    caller.ask(call("last", size, connection="close"))
    until(lambda: "last" in world.app.over)
    assert world.app.whole == ["last"]
    assert caller.gets("last", size)["connection"] == "close"
    assert caller.closed
    until(lambda: not world.server.server_state.connections)


def test_a_call_that_wants_to_close_closes_after_what_was_not_read(world: World) -> None:
    caller, _ = unread(world)
    caller.ask(call("last", connection="close"))
    until(lambda: "last" in world.app.whole)
    assert "connection" not in caller.gets("big", BIG)
    assert caller.gets("last")["connection"] == "close"
    assert caller.closed


@pytest.mark.parametrize("headers", [{}, {"connection": "keep-alive"}])
def test_a_call_by_http_1_0_is_answered_and_closed(world: World, headers: dict[str, str]) -> None:
    caller = world.caller()
    caller.ask(call("old", version="1.0", **headers))
    assert caller.gets("old")["connection"] == "close"
    assert caller.closed
    assert world.app.whole == []
    until(lambda: world.no_call)


def test_calls_that_come_in_one_piece_are_answered_in_order(world: World) -> None:
    caller = world.caller()
    caller.ask(call("a", BIG), call("b"), OTHER, call("c"))
    for name, size in (("a", BIG), ("b", 20), ("/healthz", 20), ("c", 20)):
        caller.gets(name, size)
    caller.ask(call("alone"))
    caller.gets("alone")
    caller.ask(call("d"), call("e", connection="close"))
    caller.gets("d")
    assert caller.gets("e")["connection"] == "close"
    assert caller.closed
    assert world.app.whole == ["alone"]


def test_calls_that_come_while_one_is_computed_are_answered_after_it(world: World) -> None:
    world.app.held.add("slow")
    caller = world.caller()
    door = world.door(caller)
    caller.ask(call("slow"))
    until(lambda: "slow" in world.app.begun)
    caller.ask(call("quick"))
    until(lambda: len(door.pipeline) == 1)
    caller.ask(OTHER, call("quicker"))
    assert world.app.begun == ["slow"]
    world.app.held.clear()
    for name in ("slow", "quick", "/healthz", "quicker"):
        caller.gets(name)
    caller.ask(call("alone"))
    caller.gets("alone")
    assert world.app.whole == ["slow", "alone"]


def test_calls_are_answered_in_order_around_refusals(world: World) -> None:
    caller = world.caller()
    world.fill()
    caller.ask(call("a"))
    caller.ask(call("b"), OTHER, call("c"))
    answers = [caller.answer() for _ in range(4)]
    assert [(status, headers["x-request-id"]) for status, headers, _ in answers[:2]] == [
        (503, "a"),
        (503, "b"),
    ]
    assert answers[2][0] == 200
    assert (answers[3][0], answers[3][1]["x-request-id"]) == (503, "c")
    world.empty()
    caller.ask(call("d"))
    caller.gets("d")
    assert world.app.begun == ["/healthz", "d"]


def test_refusals_do_not_pile_up_for_a_caller_who_does_not_read(world: World) -> None:
    caller = world.caller()
    door = world.door(caller)
    world.fill()
    names = [f"refused-{number}" for number in range(2000)]
    for count, name in enumerate(names):
        if door.flow.write_paused:
            break
        caller.ask(call(name))
        until(partial(world.has_refused, count + 1))
    kept = door.transport.get_write_buffer_size()
    del names[count + 20 :]
    for name in names[count:]:
        caller.ask(call(name))
    until(lambda: door.flow.read_paused)
    assert world.has_refused(count)
    assert door.transport.get_write_buffer_size() <= kept

    for name in names:
        status, headers, _ = caller.answer()
        assert (status, headers["x-request-id"]) == (503, name)
    until(lambda: world.has_refused(len(names)) and not world.server.server_state.tasks)
    world.empty()
    caller.ask(call("after"))
    caller.gets("after")
    assert world.app.begun == ["after"]


def test_a_refused_call_that_wants_to_close_is_closed(world: World) -> None:
    caller = world.caller()
    world.fill()
    caller.ask(call("last", connection="close"))
    status, headers, _ = caller.answer()
    assert (status, headers["connection"]) == (503, "close")
    assert caller.closed


@pytest.mark.parametrize("refused", [False, True])
def test_an_idle_connection_is_closed(refused: bool) -> None:
    with served(keep_alive_s=1) as world:
        caller = world.caller()
        if refused:
            world.fill()
        caller.ask(call("a"))
        assert caller.answer()[0] == (503 if refused else 200)
        assert caller.closed
        until(lambda: not world.server.server_state.connections)


def test_an_idle_connection_is_closed_after_what_was_not_read() -> None:
    with served(keep_alive_s=1) as world:
        caller = world.caller()
        door = world.door(caller)
        caller.ask(call("big", BIG))
        until(door.transport.is_closing)
        caller.gets("big", BIG)
        assert caller.closed


def test_a_connection_with_a_call_on_it_is_not_idle(world: World) -> None:
    caller = world.caller()
    door = world.door(caller)
    world.fill()
    caller.ask(call("refused"))
    assert caller.answer()[0] == 503
    world.empty()
    for name in ("first", "second"):
        until(lambda: door.timeout_keep_alive_task is not None)
        before = door.timeout_keep_alive_task
        assert before is not None
        world.app.held.add(name)
        caller.ask(call(name))
        until(partial(world.app.began, name))
        assert before.cancelled()
        assert door.timeout_keep_alive_task is None
        world.app.held.clear()
        caller.gets(name)


def test_a_connection_that_goes_on_being_refused_is_not_idle(world: World) -> None:
    """Only its timer closes it, which is put off again and again; no earlier one is left."""
    caller, other = world.caller(), world.caller()
    door = world.door(caller)
    caller.ask(call("answered"))
    caller.gets("answered")
    world.fill()
    timers = []
    begin = time.monotonic()
    while time.monotonic() < begin + 1.5:
        caller.ask(call("refused"))
        assert caller.answer()[0] == 503
        other.ask(OTHER)
        other.gets("/healthz")  # so the turn of the loop that refused is over
        timer = door.timeout_keep_alive_task
        assert timer is not None
        if timer not in timers:
            timers.append(timer)
    assert len(timers) > 1
    assert [timer.cancelled() for timer in timers] == [True] * (len(timers) - 1) + [False]
    moments = [timer.when() for timer in timers]
    assert moments == sorted(moments)
    assert moments[-1] > moments[0]
    world.empty()
    caller.ask(call("served"))
    caller.gets("served")
    assert timers[-1].cancelled()
