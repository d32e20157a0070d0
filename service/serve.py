"""`cascada serve`: answer calls over HTTP."""

from __future__ import annotations

import argparse
import logging
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

import uvicorn

from models.artifacts import BundleError
from service.app import create_app
from service.bundles import choose_bundle
from service.errors import OperatorError
from service.features.embedded import find_server
from service.logs import configure_logs
from service.settings import Settings, load_settings

_log = logging.getLogger("cascada.serve")


def main(argv: list[str]) -> int:
    """Run `cascada serve ARGV` until a signal; returns the exit code."""
    try:
        settings = load_settings(**_overrides(argv))
        configure_logs(settings.log_level, settings.log_format)
        choose_bundle(settings)
        if settings.redis_url is None:
            find_server()
        with _listen(settings) as listener:
            return serve(settings, listener)
    except (OperatorError, BundleError) as error:
        print(f"cascada serve: {error}", file=sys.stderr)
        return 1


def serve(settings: Settings, listener: socket.socket) -> int:
    """Serve on a listening socket; a signal lets calls in progress finish first. Returns the exit code.

    Raises:
        OperatorError, BundleError: the app could not start.
    """
    failures: list[BaseException] = []

    def give_up(error: BaseException) -> None:
        failures.append(error)
        server.should_exit = True

    config = uvicorn.Config(
        create_app(settings, give_up),
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=settings.drain_seconds,
        server_header=False,
    )
    server = uvicorn.Server(config)
    host, port = listener.getsockname()[:2]
    _log.info("listening", extra={"url": f"http://{host}:{port}"})
    # When it has drained, uvicorn raises the signal again: for SIGTERM that is a good end.
    signal.signal(signal.SIGTERM, _end)
    server.run(sockets=[listener])
    if failures:
        raise failures[0]
    return 0


def _end(signum: int, frame: FrameType | None) -> None:
    sys.exit(0)


def _listen(settings: Settings) -> socket.socket:
    """A socket that is bound before anything is opened, so that a busy port is known at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise OperatorError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}; "
            "choose another with --port or CASCADA_PORT"
        ) from None
    listener.set_inheritable(True)
    return listener


def _overrides(argv: list[str]) -> dict[str, object]:
    parser = argparse.ArgumentParser(
        prog="cascada serve",
        description=__doc__,
        epilog="All settings: CASCADA_* variables or cascada.toml; see docs/configuration.md.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--bundles", type=Path, help="folder of bundles; the newest one is served")
    parser.add_argument("--bundle", type=Path, help="serve exactly this bundle folder")
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (8000; 0 takes a free one)")
    parser.add_argument("--redis-url", help="Redis to use; without one we start our own")
    return vars(parser.parse_args(argv))
