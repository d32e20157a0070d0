"""One process that answers: the app under uvicorn, from a listening socket to the last drained call."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.acceptor import Acceptor
from service.app import create_app
from service.residency import settle, share_heap
from service.settings import Settings

_log = logging.getLogger("cascada.serve")


def serve(settings: Settings, listener: socket.socket) -> int:
    """Serve on a listening socket; a signal lets calls in progress finish first. Returns the exit code.

    Raises:
        OperatorError, BundleError: the app could not start.
    """
    share_heap()
    failures: list[BaseException] = []

    def give_up(error: BaseException) -> None:
        failures.append(error)
        server.should_exit = True

    server = Server(configuration(create_app(settings, give_up, settle), settings), listener)
    end_well()
    server.run()
    if failures:
        raise failures[0]
    return 0


class Server(uvicorn.Server):
    """uvicorn's server over a listening socket, with an acceptor of our own."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self._listener = listener

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Run the app's start, then accept."""
        await super().startup(sockets=[])
        self._listener.listen(self.config.backlog)
        self._begin()

    def _begin(self) -> None:
        self._accept(Acceptor(self._listener, self._protocol, self.server_state.connections))

    def _accept(self, acceptor: Acceptor) -> None:
        self.servers.append(acceptor)  # type: ignore[arg-type]

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


def configuration(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """How uvicorn runs the app."""
    return uvicorn.Config(
        app,
        http=app.state.doorkeeper,
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=settings.drain_seconds,
        server_header=False,
    )


def end_well() -> None:
    """When it has drained, uvicorn raises the signal again: for SIGTERM that is a good end."""
    signal.signal(signal.SIGTERM, _end)


def _end(signum: int, frame: FrameType | None) -> None:
    sys.exit(0)
