"""`cascada serve`: answer calls over HTTP."""

from __future__ import annotations

import argparse
import logging
import socket
import sys
from pathlib import Path

from models.artifacts import BundleError
from service.bundles import choose_bundle
from service.errors import OperatorError
from service.features.embedded import find_server
from service.logs import configure_logs
from service.settings import Settings, load_settings
from service.stacks import tell_when_asked
from service.workers.cores import usable_cores

_log = logging.getLogger("cascada.serve")


def main(argv: list[str]) -> int:
    """Run `cascada serve ARGV` until a signal; returns the exit code."""
    try:
        settings = load_settings(**_overrides(argv))
        configure_logs(settings.log_level, settings.log_format)
        tell_when_asked()
        choose_bundle(settings)
        if settings.redis_url is None:
            find_server()
        with _listen(settings) as listener:
            host, port = listener.getsockname()[:2]
            _log.info("listening", extra={"url": f"http://{host}:{port}"})
            return _serve(settings, listener)
    except (OperatorError, BundleError) as error:
        print(f"cascada serve: {error}", file=sys.stderr)
        return 1


def _serve(settings: Settings, listener: socket.socket) -> int:
    """In this process, or in several; what only the other way needs is not imported."""
    workers = settings.workers or usable_cores()
    if workers == 1:
        from service.process import serve

        return serve(settings, listener)
    from service.workers.parent import supervise

    return supervise(settings, listener, workers)


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
    parser.add_argument("--workers", type=int, help="processes that answer (one per core)")
    parser.add_argument("--redis-url", help="Redis to use; without one we start our own")
    return vars(parser.parse_args(argv))
