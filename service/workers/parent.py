"""The parent of several workers: starts them, replaces those that end, adds up their series, ends them.

It answers no call and opens no bundle. The workers accept from one listening socket that they inherit
(`service.acceptor`): a socket each (SO_REUSEPORT) would deal connections out by a hash, to busy and
idle workers alike, and would reset those that wait for a worker that dies.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, generate_latest
from pydantic import SecretStr

from service.acceptor import Board
from service.bundles import Beginning
from service.errors import OperatorError
from service.features.embedded import EmbeddedRedis
from service.settings import Settings
from service.workers.backoff import Backoff
from service.workers.link import Link, give_settings
from service.workers.series import Totals

_SAMPLE_S = 2.0
"""Longest wait for a worker's series; then its last known ones count."""
_SLACK_S = 5.0
"""A worker that has not ended so long after its time to drain is killed."""
_log = logging.getLogger("cascada.workers")


@dataclass(slots=True)
class Worker:
    """One child."""

    process: asyncio.subprocess.Process
    link: Link
    started: float
    ready: bool = False
    failure: str | None = None
    samples: dict[int, asyncio.Future[str]] = field(default_factory=dict)


class Parent:
    """Runs until a signal, or until no worker can start."""

    def __init__(self, settings: Settings, beginning: Beginning, listener: socket.socket, count: int) -> None:
        self._settings = settings
        self._beginning = beginning
        self._listener = listener
        self._count = count
        self._board = Board.of(count)
        self._workers: dict[int, Worker] = {}
        self._totals = Totals()
        self._scrapes = 0
        self._signal: asyncio.Future[int] | None = None
        self._once_ready = False
        registry = CollectorRegistry()
        self._restarts = Counter("cascada_worker_restarts", "Workers that were replaced", registry=registry)
        self._registry = registry

    async def run(self) -> int:
        """Serve; returns the signal that ended it.

        Raises:
            OperatorError: a worker could not start, and none ever has.
        """
        loop = asyncio.get_running_loop()
        self._signal = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        keepers = [asyncio.create_task(self._keep(place)) for place in range(self._count)]
        for keeper in keepers:
            keeper.add_done_callback(self._on_defect)
        try:
            return await self._signal
        finally:
            for keeper in keepers:
                keeper.cancel()
            await self._end()

    def _on_signal(self, number: int) -> None:
        assert self._signal is not None
        if self._signal.done():  # asked for a second time: do not wait for calls in progress
            self._each(lambda worker: worker.process.kill())
        else:
            self._signal.set_result(number)

    async def _keep(self, place: int) -> None:
        """Have a worker in this place, always."""
        backoff = Backoff()
        while True:
            worker = await self._start(place)
            code = await worker.process.wait()
            self._board.leave(place)
            self._forget(worker)
            lived_s = time.monotonic() - worker.started
            reason = worker.failure or f"a worker ended with {_ending(code)} before it was ready"
            if not self._once_ready:
                self._give_up(OperatorError(reason))
                return
            wait_s = backoff.after(lived_s if worker.ready else 0.0)
            extra = {"pid": worker.process.pid, "lived_s": round(lived_s, 1), "wait_s": wait_s}
            why = worker.failure or _ending(code)
            _log.error("a worker ended and is replaced: %s", why, extra=extra)
            await asyncio.sleep(wait_s)
            self._restarts.inc()

    async def _start(self, place: int) -> Worker:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "service.workers.worker"]
        fds = (self._listener.fileno(), theirs.fileno(), self._board.fd)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                *map(str, (*fds, self._count, place)),
                pass_fds=fds,
                stdin=asyncio.subprocess.DEVNULL,
                # A Ctrl-C in the terminal is for us: we tell the workers.
                start_new_session=True,
            )
        finally:
            theirs.close()
        give_settings(ours, self._settings, self._beginning)
        ours.setblocking(False)
        worker = Worker(process, await Link.over(ours), time.monotonic())
        self._workers[process.pid] = worker
        asyncio.create_task(self._hear(worker), name=f"worker-{process.pid}").add_done_callback(_heard)
        if self._any_ready():
            worker.link.send("open")
        return worker

    async def _hear(self, worker: Worker) -> None:
        async for message in worker.link.messages():
            match message["is"]:
                case "ready":
                    worker.ready = self._once_ready = True
                    self._each(lambda other: other.link.send("open"))
                case "failed":
                    worker.failure = message["error"]
                case "scrape":
                    asyncio.create_task(self._scrape(worker, message["id"])).add_done_callback(_heard)
                case "sample":
                    self._totals.know(worker.process.pid, message["text"])
                    future = worker.samples.pop(message["id"], None)
                    if future is not None and not future.done():
                        future.set_result("")
        for future in worker.samples.values():
            future.cancel()

    async def _scrape(self, asker: Worker, number: int) -> None:
        """Ask every worker for its series and give their sum to the one who is being scraped."""
        self._scrapes += 1
        samples = []
        for worker in self._workers.values():
            future = worker.samples[self._scrapes] = asyncio.get_running_loop().create_future()
            worker.link.send("collect", id=self._scrapes)
            samples.append(future)
        await asyncio.wait(samples, timeout=_SAMPLE_S)
        own = generate_latest(self._registry).decode()
        asker.link.send("metrics", id=number, text=self._totals.text(own))

    def _forget(self, worker: Worker) -> None:
        worker.link.close()
        del self._workers[worker.process.pid]
        self._totals.end(worker.process.pid)

    def _give_up(self, error: BaseException) -> None:
        assert self._signal is not None
        if not self._signal.done():
            self._signal.set_exception(error)

    def _on_defect(self, keeper: asyncio.Task[None]) -> None:
        if not keeper.cancelled() and (error := keeper.exception()) is not None:
            self._give_up(error)

    async def _end(self) -> None:
        """Let every worker finish its calls; the slow ones are killed."""
        every = list(self._workers.values())
        self._each(lambda worker: worker.process.terminate())
        waits = [asyncio.ensure_future(worker.process.wait()) for worker in every]
        if not waits:
            return
        _, late = await asyncio.wait(waits, timeout=self._settings.drain_seconds + _SLACK_S)
        if late:
            _log.error("%d workers did not end in time and are killed", len(late))
            self._each(lambda worker: worker.process.kill())
            await asyncio.wait(late)
        for worker in every:
            worker.link.close()

    def _any_ready(self) -> bool:
        return any(worker.ready for worker in self._workers.values())

    def _each(self, act: Callable[[Worker], None]) -> None:
        for worker in self._workers.values():
            with suppress(ProcessLookupError):
                act(worker)


def supervise(settings: Settings, listener: socket.socket, count: int) -> int:
    """Serve with `count` workers until a signal; returns the exit code.

    Raises:
        OperatorError, BundleError: nothing could start.
        KeyboardInterrupt: SIGINT ended it.
    """
    # What is newest may change while we run, and a worker that is replaced must serve what the others do.
    beginning = Beginning.of(settings)
    number = asyncio.run(_supervise(settings.model_copy(update={"workers": 1}), beginning, listener, count))
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    return 0


async def _supervise(settings: Settings, beginning: Beginning, listener: socket.socket, count: int) -> int:
    if settings.redis_url is not None:
        return await Parent(settings, beginning, listener, count).run()
    server = EmbeddedRedis(settings.redis_data)
    server.start()
    running = asyncio.create_task(server.keep_running(), name="redis-server")
    try:
        ours = settings.model_copy(update={"redis_url": SecretStr(server.url)})
        return await Parent(ours, beginning, listener, count).run()
    finally:
        running.cancel()
        server.stop()


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def _heard(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("a worker's message was not understood", exc_info=error)
