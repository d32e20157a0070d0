"""One of several processes that answer on the same socket; a child of `service.workers.parent`."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from models.artifacts import BundleError
from service.acceptor import Acceptor, Board
from service.app import create_app
from service.bundles import Beginning
from service.errors import OperatorError
from service.logs import configure_logs
from service.process import Server, configuration, end_well
from service.residency import settle, share_heap
from service.settings import Settings
from service.stacks import tell_when_asked
from service.workers.link import Link, take_settings

_SCRAPE_S = 5.0
_log = logging.getLogger("cascada.worker")


class Team:
    """The other workers, as this one knows them through the parent."""

    def __init__(self, link: Link, render: Callable[[], bytes]) -> None:
        self._link = link
        self._render = render
        self._scrapes: dict[int, asyncio.Future[str]] = {}
        self._numbers = itertools.count()

    def ready(self) -> None:
        """Real requests went through this worker's cascade."""
        self._link.send("ready")

    async def metrics(self) -> bytes:
        """The series of all workers; this one's alone if the parent does not answer."""
        number = next(self._numbers)
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._scrapes[number] = future
        self._link.send("scrape", id=number)
        try:
            async with asyncio.timeout(_SCRAPE_S):
                return (await future).encode()
        except TimeoutError:
            _log.warning("the parent did not count the workers; these are the series of one alone")
            return await asyncio.to_thread(self._render)
        finally:
            del self._scrapes[number]

    async def listen(self, on_open: Callable[[], None]) -> None:
        """Do what the parent says until it is gone; `on_open` is called once any worker is ready."""
        async for message in self._link.messages():
            match message["is"]:
                case "open":
                    on_open()
                case "collect":
                    text = await asyncio.to_thread(self._render)
                    self._link.send("sample", id=message["id"], text=text.decode())
                case "metrics":
                    future = self._scrapes.get(message["id"])
                    if future is not None and not future.done():
                        future.set_result(message["text"])


class WorkerServer(Server):
    """Accepts while nobody is ready, to say so, and again from when it is ready itself.

    In between others answer, and a connection that came here would find a worker that cannot.
    """

    def __init__(self, config: uvicorn.Config, listener: socket.socket, board: Board, place: int) -> None:
        super().__init__(config, listener)
        self._board = board
        self._place = place
        self._ready = self._others = False

    def _begin(self) -> None:
        if not self._others or self._ready:
            connections = self.server_state.connections
            self._accept(Acceptor(self._listener, self._protocol, connections, self._board, self._place))

    def on_ready(self) -> None:
        """This worker can answer."""
        self._ready = True
        if self.started and not self.servers and not self.should_exit:
            self._begin()

    def on_open(self) -> None:
        """Some worker can answer."""
        self._others = True
        if self._ready or not self.started:
            return
        for server in self.servers:
            server.close()
        self.servers.clear()
        for connection in list(self.server_state.connections):
            connection.shutdown()


async def _answer(
    settings: Settings,
    beginning: Beginning,
    listener: socket.socket,
    end: socket.socket,
    board: Board,
    place: int,
) -> int:
    link = await Link.over(end)
    failures: list[BaseException] = []

    def give_up(error: BaseException) -> None:
        failures.append(error)
        expected = isinstance(error, OperatorError | BundleError)
        link.send("failed", error=str(error) if expected else repr(error))
        server.should_exit = True

    def on_ready() -> None:
        settle()
        server.on_ready()
        team.ready()

    app = create_app(settings, give_up, on_ready, beginning)

    def render() -> bytes:
        parts = getattr(app.state, "parts", None)  # None = asked before it has begun
        return b"" if parts is None else bytes(parts.metrics.render())

    team = Team(link, render)
    app.state.scrape = team.metrics
    server = WorkerServer(configuration(app, settings), listener, board, place)

    async def obey() -> None:
        try:
            await team.listen(server.on_open)
        finally:
            if not server.should_exit:
                _log.error("the parent does not speak to this worker any more, which ends, too")
                server.should_exit = True

    obeying = asyncio.create_task(obey(), name="obey")
    try:
        await server.serve()
    finally:
        obeying.cancel()
        with suppress(asyncio.CancelledError):
            await obeying
        link.close()
    return 1 if failures else 0


def main(argv: list[str]) -> int:
    """Run a worker; `ARGV`: descriptors of listener, parent's link and board, number of places, its own."""
    listener, end = (socket.socket(fileno=int(word)) for word in argv[:2])
    board, place = Board(int(argv[2]), int(argv[3])), int(argv[4])
    end.setblocking(True)
    try:
        settings, beginning = take_settings(end)
    except EOFError:
        return 1
    configure_logs(settings.log_level, settings.log_format)
    tell_when_asked()
    end_well()
    share_heap()
    end.setblocking(False)
    config = uvicorn.Config("", log_config=None)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        return runner.run(_answer(settings, beginning, listener, end, board, place))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
