"""`cascada` as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.live_service import PATIENT

CASCADA = [sys.executable, "-m", "service.command"]
LIMIT_S = 90


def environment(**variables: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("CASCADA_")}
    patient = {f"CASCADA_{name.upper()}": str(value) for name, value in PATIENT.items()}
    return {**plain, "CASCADA_WARMUP_REQUESTS": "2", "CASCADA_WORKERS": "1", **patient, **variables}


def cascada(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [*CASCADA, *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT_S, env=environment(**variables), check=False
    )


@contextmanager
def serving(*words: str | Path, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that says it is ready, and its URL."""
    process = subprocess.Popen(
        [*CASCADA, "serve", "--port", "0", *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**variables),
    )
    assert process.stderr is not None
    try:
        url = ""
        for line in process.stderr:
            entry = json.loads(line)
            url = entry.get("url", url)
            if entry["message"] == "ready":
                break
        yield process, url
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
