"""How many processes this machine, or this container, can keep busy."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


def usable_cores(groups: Path = _GROUPS) -> int:
    """Cores that this process may run on, at most its container's share of CPU time, rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = _share(groups)
    return cores if share is None else max(1, min(cores, ceil(share)))


def _share(groups: Path) -> float | None:
    """CPU seconds per second that the control group grants; None = as many as there are."""
    try:
        if (modern := groups / "cpu.max").exists():
            quota, period = modern.read_text().split()
        else:
            quota = (groups / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (groups / "cpu" / "cpu.cfs_period_us").read_text().strip()
        share = float(quota) / float(period)
    except (OSError, ValueError):  # "max", or no such file
        return None
    return share if share > 0 else None
