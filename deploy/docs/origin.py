"""Where a number was measured: machine and commit."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path


def origin() -> str:
    """For example `2 cores of an AMD EPYC 7763, Linux x86_64, Python 3.11.7, commit 1a2b3c4`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    system = f"{platform.system()} {platform.machine()}"
    return (
        f"{cores} cores of {_processor()}, {system}, Python {platform.python_version()}, commit {_commit()}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "an unnamed processor"


def _commit() -> str:
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return told.stdout.strip() or "unknown"
