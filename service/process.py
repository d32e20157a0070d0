"""One process that answers: the app under uvicorn, from a listening socket to the last drained call."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.settings import Settings

_log = logging.getLogger("cascada.serve")


def serve(settings: Settings, listener: socket.socket) -> int:
    """Serve on a listening socket; a signal lets calls in progress finish first. Returns the exit code.

    Raises:
        OperatorError, BundleError: the app could not start.
    """
    failures: list[BaseException] = []

    def give_up(error: BaseException) -> None:
        failures.append(error)
        server.should_exit = True

    server = uvicorn.Server(configuration(create_app(settings, give_up), settings))
    end_well()
    server.run(sockets=[listener])
    if failures:
        raise failures[0]
    return 0


def configuration(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """How uvicorn runs the app."""
    return uvicorn.Config(
        app,
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
