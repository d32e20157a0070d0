"""What can go wrong in the demo, said in one sentence with what to do."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from service.errors import OperatorError
from service.features.embedded import find_server

NEEDED_BYTES = 2**30


class DemoError(Exception):
    """The demo cannot go on; the message says what to do."""


def check_port(port: int) -> None:
    """Refuse a port that somebody listens on, before the long work.

    Raises:
        DemoError: the port is taken or may not be used.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DemoError(
                f"port {port} of 127.0.0.1 cannot be used ({reason}): choose another, for example "
                f"make demo PORT={port + 1 if 0 < port < 65535 else 8001}"
            ) from error


def check_redis() -> None:
    """Refuse to begin without a redis-server.

    Raises:
        DemoError: there is none.
    """
    try:
        find_server()
    except OperatorError as error:
        raise DemoError(str(error)) from error


def check_space(folder: Path) -> None:
    """Refuse to begin on a disk that will be full before the end.

    Raises:
        DemoError: less than a gigabyte is free.
    """
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        raise DemoError(
            f"{folder} has {free / 2**20:.0f} MB free and the demo needs 1 GB: make room, "
            "or name a folder elsewhere with CASCADA_DEMO_DIR"
        )


def explain(what: str, errors: Path | None) -> str:
    """Why a command failed: its own last line, and advice where the cause is a known one.

    `errors` holds its standard error; without it the user has seen that on the terminal.
    """
    if errors is None:
        return f"{what} failed, as it says above; make demo goes on from there when that is put right"
    output = errors.read_text(errors="replace")
    if "No space left on device" in output:
        return f"{what} failed because the disk is full: make room, then run make demo again"
    return f"{what} failed: {last_line(errors) or 'it said nothing'} (all it said: {errors})"


def last_line(path: Path) -> str:
    """The last line of a file that is not blank, or nothing."""
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")
