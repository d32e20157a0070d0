"""The service as the demo runs it: a child process that is ready when `/readyz` says so."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from deploy.demo.processes import cascada, running
from deploy.demo.trouble import DemoError, last_line

READY_WITHIN_S = 60.0


@contextlib.contextmanager
def serving(bundles: Path, redis: Path, port: int, logs: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Serve the newest bundle on 127.0.0.1 until the block ends; its own redis-server keeps state in `redis`.

    Raises:
        DemoError: the service ended, or was not ready in time.
    """
    command = cascada("serve", "--bundles", bundles, "--port", str(port))
    log, errors = logs / "service.log", logs / "service.err"
    with running(command, log, errors, {"CASCADA_REDIS_DATA": str(redis)}) as process:
        deadline = time.monotonic() + READY_WITHIN_S
        while not _ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"the service did not start: {last_words(log, errors)}")
            time.sleep(0.05)
        yield process


def last_words(log: Path, errors: Path) -> str:
    """The service's last message, and where the rest is."""
    words = last_line(errors) or last_line(log) or "it said nothing"
    with contextlib.suppress(ValueError, TypeError, KeyError):
        words = str(json.loads(words)["message"])
    return f"{words} (all it said: {log} and {errors.name})"


def _ready(port: int) -> bool:
    """Whether it serves with its store: redis-server reads what it kept while the service starts already."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2)
        return answer.status_code == 200 and answer.json()["checks"]["store"] == "ok"
    except (httpx.HTTPError, ValueError, KeyError):
        return False
