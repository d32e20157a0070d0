"""What the kernel says of processes: CPU seconds, memory, load; and where a process may run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one process: all that is resident, its fair part of shared pages, and what is its alone."""

    rss: int
    pss: int
    uss: int
    peak: int
    anonymous: int


def cores() -> list[int]:
    """The cores that this process may use, ascending."""
    return sorted(os.sched_getaffinity(0))


def pinned(core: int | Sequence[int], command: list[str]) -> list[str]:
    """The command, bound to one core or to some."""
    chosen = [core] if isinstance(core, int) else core
    return ["taskset", "-c", ",".join(map(str, chosen)), *command]


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, user and system, threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def family(pid: int) -> list[int]:
    """A process and those that it started, down to the last."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def memory(pid: int) -> Memory:
    """What a process holds now, and the most that it held."""
    rollup = _kilobytes(Path(f"/proc/{pid}/smaps_rollup"))
    status = _kilobytes(Path(f"/proc/{pid}/status"))
    return Memory(
        rss=rollup["Rss"],
        pss=rollup["Pss"],
        uss=rollup["Private_Clean"] + rollup["Private_Dirty"],
        peak=status["VmHWM"],
        anonymous=rollup["Anonymous"],
    )


def descriptors(pid: int) -> int:
    """How many files and sockets a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def load_average() -> str:
    """Processes that wanted to run, over the last 1, 5 and 15 minutes."""
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def describe() -> dict[str, object]:
    """What a figure depends on besides the commit."""
    versions = {name: importlib.metadata.version(name) for name in ("faiss-cpu", "numpy", "onnxruntime")}
    told = {"cores": len(cores()), "system": platform.platform(), "python": platform.python_version()}
    return {**told, **versions, "load": load_average(), "commit": _commit()}


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"


def one_thread() -> None:
    """Keep the numerical libraries of child processes to one thread."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def _kilobytes(path: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB":
            found[name] = int(words[0]) * 1024
    return found
