"""Child processes that are never left behind: each leads a process group, and the group is ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

PATIENCE_S = 15.0
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
KEPT = ("CASCADA_CACHE",)
CONFIG = Path(__file__).with_name("cascada.toml")


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Ours with these settings, and without any that would point the demo at somebody's real Redis."""
    inherited = {n: value for n, value in os.environ.items() if not n.startswith("CASCADA_") or n in KEPT}
    return {**inherited, "CASCADA_CONFIG": str(CONFIG), **settings}


def cascada(*arguments: str | Path) -> list[str]:
    """The command line of a `cascada` verb in this environment."""
    return [str(Path(sys.executable).with_name("cascada")), *map(str, arguments)]


@contextlib.contextmanager
def running(
    command: Sequence[str],
    log: Path,
    errors: Path | None = None,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in its own session, its output in `log`, and end all of it when the block ends.

    Its standard error goes to the file `errors`, or without one to our own, where progress bars belong.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output, contextlib.ExitStack() as files:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=files.enter_context(errors.open("wb")) if errors else None,
            env=environment(settings),
            # A Ctrl-C in the terminal is for us alone: we end the children in order.
            start_new_session=True,
        )
        try:
            yield process
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end, wait, and then end whatever is left of its group."""
    with undisturbed():
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Let no second Ctrl-C interrupt the block."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
