"""How much memory a piece of work took at most."""

from __future__ import annotations

import threading
from pathlib import Path

_STATUS = Path("/proc/self/status")
_PERIOD_S = 0.2


class PeakMemory:
    """While entered, watches this process's resident memory; `gigabytes` is the most that was seen.

    It is 0 where the system does not tell (anything but Linux).
    """

    def __init__(self) -> None:
        self.gigabytes = 0.0
        self._stop = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._watch.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._watch.join()

    def _look(self) -> None:
        while True:
            self.gigabytes = max(self.gigabytes, resident_gb())
            if self._stop.wait(_PERIOD_S):
                return


def resident_gb() -> float:
    """Resident memory of this process in 10^9 bytes; 0 where it is not known."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0.0
    kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)
    return round(kilobytes * 1024 / 1e9, 2)
