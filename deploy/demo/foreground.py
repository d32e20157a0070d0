"""Run a foreground program from outside, as a person would: start it, read what it says, press Ctrl-C.

Standard library only: the smoke test uses it before anything is installed.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

READY = "Ctrl-C ends it."
"""The demo's last words before it waits."""
PATIENCE_S = 30.0


class Foreground:
    """A shell command in its own session, its output merged and read line by line."""

    def __init__(self, command: str, cwd: Path, env: Mapping[str, str]) -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # A script in the background of a shell ignores Ctrl-C, and its children would inherit that.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._process = subprocess.Popen(
            command,
            shell=True,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Foreground:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.interrupt(PATIENCE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(5)
        if self._process.stdout:
            self._process.stdout.close()

    @property
    def pid(self) -> int:
        """The leader of the process group."""
        return self._process.pid

    def until(self, text: str, seconds: float) -> Iterator[str]:
        """Yield lines up to the one that holds `text`.

        Raises:
            RuntimeError: the program ended before.
            TimeoutError: it did not say so in time.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"no {text!r} within {seconds:.0f} s") from None
            if line is None:
                said = "\n".join(self.lines[-5:])
                code = self._process.wait()
                raise RuntimeError(f"ended with {code} before it said {text!r}, after:\n{said}")
            self.lines.append(line)
            yield line
            if text in line:
                return

    def interrupt(self, seconds: float) -> int:
        """Press Ctrl-C: SIGINT to the whole process group. Returns the exit code.

        Raises:
            subprocess.TimeoutExpired: it is still running after that time.
        """
        os.killpg(self._process.pid, signal.SIGINT)
        return self.wait(seconds)

    def wait(self, seconds: float) -> int:
        """Wait for the end. Returns the exit code.

        Raises:
            subprocess.TimeoutExpired: it is still running after that time.
        """
        return self._process.wait(seconds)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)
