"""Processes of a race: a redis-server, our worker, the rival's worker; each pinned, each ended by its id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
import redis

from benchmarks.machine import pinned
from service.features.embedded import find_server

PATIENCE_S = 300.0
"""A bundle of 10^6 items is hashed, opened and warmed up."""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that listens on 127.0.0.1."""

    pid: int
    port: int
    seconds_to_ready: float

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def redis_server(core: int) -> Iterator[Server]:
    """An empty redis-server that keeps nothing on disk."""
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="cascada-bench-") as folder:
        options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", folder]
        command = [str(find_server()), *options]
        with _running(pinned(core, command), port, Path(folder) / "log", {}, _accepts) as server:
            yield server


@contextmanager
def our_worker(
    bundle: Path,
    redis_port: int,
    core: int | Sequence[int],
    log: Path,
    plan: Mapping[str, object],
    settings: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """`cascada serve` with its access log off; `plan` overrides the bundle's, `settings` what is set here."""
    port = _free_port()
    environment = {
        "CASCADA_BUNDLE": str(bundle.absolute()),
        "CASCADA_PORT": str(port),
        "CASCADA_REDIS_URL": f"redis://127.0.0.1:{redis_port}",
        "CASCADA_ACCESS_LOG": "false",
        "CASCADA_WORKERS": "1",
        # A closed loop with many connections would be refused what it asks too much.
        "CASCADA_LATENCY_TARGET_MS": "60000",
        # A saturated worker looks at its answers late; with the usual 50 ms it would go without the user.
        "CASCADA_REDIS_READ_TIMEOUT_MS": "5000",
        "CASCADA_DEADLINE_MS": "60000",
        "CASCADA_PLAN": orjson.dumps(plan).decode(),
        **(settings or {}),
    }
    command = pinned(core, [sys.executable, "-m", "service.command", "serve"])
    with _running(command, port, log, environment, _ready) as server:
        yield server


@contextmanager
def empty_worker(core: int, log: Path) -> Iterator[Server]:
    """The service of `benchmarks.empty`, under the same server as ours."""
    port = _free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--log-level", "warning"]
    command = pinned(core, [sys.executable, "-m", "uvicorn", "benchmarks.empty:app", *options])
    with _running(command, port, log, {}, _ready) as server:
        yield server


@contextmanager
def rival_worker(environment_folder: Path, redis_port: int, core: int, log: Path) -> Iterator[Server]:
    """LibRecommender's `embed_deploy` as its own package ships it, one process, access log off."""
    port = _free_port()
    sanic = [str(environment_folder / "bin" / "sanic"), "libserving.sanic_serving.embed_deploy:app"]
    options = ["--host", "127.0.0.1", "--port", str(port), "--single-process", "--no-access-logs"]
    environment = {"REDIS_HOST": f"127.0.0.1:{redis_port}"}
    with _running(pinned(core, [*sanic, *options]), port, log, environment, _accepts) as server:
        yield server


def all_ready(service: Server, workers: int) -> None:
    """Wait for all of its workers; it answers as soon as one is ready.

    Raises:
        RuntimeError: they are not within `PATIENCE_S`.
    """
    deadline = time.monotonic() + PATIENCE_S
    while f"cascada_ready {workers:.1f}" not in httpx.get(f"{service.url}/metrics", timeout=30).text:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{workers} workers were not ready within {PATIENCE_S:.0f} s")
        time.sleep(0.1)


def degraded(server: Server) -> int:
    """Answers of our worker so far that had to go without something."""
    lines = httpx.get(f"{server.url}/metrics", timeout=30).text.splitlines()
    counts = [line.rpartition(" ")[2] for line in lines if line.startswith("cascada_degraded_total")]
    return round(sum(map(float, counts)))


class Redis:
    """What the server counts; round trips are the reads from a client's socket that it made."""

    def __init__(self, port: int) -> None:
        self.client = redis.Redis(port=port)

    def round_trips(self) -> int:
        """Reads so far; commands that came together count once."""
        return int(self.client.info("stats")["total_reads_processed"])


@contextmanager
def _running(
    command: list[str],
    port: int,
    log: Path,
    environment: Mapping[str, str],
    ready: Callable[[int], bool],
) -> Iterator[Server]:
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**_bare_environment(), **environment},
        )
    try:
        while not ready(port):
            if process.poll() is not None or time.monotonic() - started > PATIENCE_S:
                words = log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
                raise RuntimeError(f"{' '.join(command[3:5])} did not start; it said: {words[0]}")
            time.sleep(0.02)
        yield Server(process.pid, port, time.monotonic() - started)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _bare_environment() -> dict[str, str]:
    """Ours, without settings of the service that would change what is measured."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith("CASCADA_")}


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
