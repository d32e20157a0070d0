"""`cascada` as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.support.live_service import PATIENT

CASCADA = [sys.executable, "-m", "service.command"]
LIMIT_S = 90


def environment(**variables: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("CASCADA_")}
    patient = {f"CASCADA_{name.upper()}": str(value) for name, value in PATIENT.items()}
    # Nobody reads the log of a service that is ready: a full pipe would stop it.
    quiet = {"CASCADA_ACCESS_LOG": "false", "CASCADA_WARMUP_REQUESTS": "2", "CASCADA_WORKERS": "1"}
    return {**plain, **quiet, **patient, **variables}


def cascada(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [*CASCADA, *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT_S, env=environment(**variables), check=False
    )


@contextmanager
def serving(*words: str | Path, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that says it is ready, and its URL; one that is not ready in time fails with all it said."""
    process = subprocess.Popen(
        [*CASCADA, "serve", "--port", "0", *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**variables),
    )
    assert process.stderr is not None
    late = threading.Timer(LIMIT_S, process.kill)
    late.start()
    try:
        url = _ready(process.stderr)
        late.cancel()
        yield process, url
    finally:
        late.cancel()
        process.kill()
        process.wait()
        process.stderr.close()


def _ready(log: IO[str]) -> str:
    """The URL of a service whose log says that it is ready."""
    url, said = "", ""
    for line in log:
        said += line
        if line.startswith("{"):
            entry = json.loads(line)
            url = entry.get("url", url)
            if entry["message"] == "ready":
                return url
    raise AssertionError(f"the service was not ready; it said:\n{said}")
