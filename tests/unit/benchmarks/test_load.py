import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.load import closed_loop, open_loop
from benchmarks.machine import cores

BODY = b'{"user": "1"}'


@contextmanager
def server(delay_s: float = 0.0, status: int = 200) -> Iterator[tuple[int, list[bytes]]]:
    """Answers one call after the other, as one busy worker does; gives its port and what it was sent."""
    seen: list[bytes] = []
    busy = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            seen.append(self.rfile.read(int(self.headers["content-length"])))
            with busy:
                time.sleep(delay_s)
            self.send_response(status)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running.server_address[1], seen
        finally:
            running.shutdown()
            thread.join(5)


@pytest.fixture
def bodies(tmp_path: Path) -> Path:
    path = tmp_path / "bodies.jsonl"
    path.write_bytes(b"\n".join([BODY, b'{"user": "2"}']))
    return path


def test_an_open_loop_counts_the_wait_in_the_queue(bodies):
    """Twice as many arrive as can be answered: a closed loop would see 20 ms, those who wait see far more."""
    with server(delay_s=0.02) as (port, _):
        load = open_loop(port, "/x", bodies, rate=100, seconds=1)
    assert load.requests + load.errors == pytest.approx(100, abs=1)
    assert load.p99_ms > 300
    assert load.p50_ms < load.p95_ms <= load.p99_ms


def test_an_open_loop_sends_what_it_was_given_in_turn(bodies):
    with server() as (port, seen):
        load = open_loop(port, "/x", bodies, rate=50, seconds=0.4)
    assert load.errors == 0
    assert sorted(seen)[:10] == [BODY] * 10
    assert len(seen) == 20


def test_refusals_are_errors(bodies):
    with server(status=503) as (port, _):
        load = open_loop(port, "/x", bodies, rate=50, seconds=0.2)
    assert load.errors == 10


def test_a_server_that_is_not_there_is_all_errors(bodies):
    with server() as (port, _):
        pass
    load = open_loop(port, "/x", bodies, rate=50, seconds=0.2)
    assert (load.requests, load.errors) == (0, 10)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_a_closed_loop_keeps_every_connection_busy(bodies):
    with server(delay_s=0.01) as (port, seen):
        started = time.monotonic()
        load = closed_loop(f"http://127.0.0.1:{port}", "/x", bodies, 4, 1, cores()[-1])
        assert time.monotonic() - started < 5
    assert load.errors == 0
    assert {BODY, b'{"user": "2"}'} <= set(seen)
    assert load.rate == pytest.approx(load.requests / load.seconds)
    # Four wait for one worker.
    assert load.p50_ms > 2 * 10


def test_without_wrk_the_error_says_what_to_install(bodies, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match="wrk is not installed: apt-get install wrk"):
        closed_loop("http://127.0.0.1:1", "/x", bodies, 1, 1, cores()[-1])
