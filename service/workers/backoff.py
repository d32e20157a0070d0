"""How long to wait before a worker that ended is started again."""

from __future__ import annotations


class Backoff:
    """The first replacement comes at once; each further one waits twice as long, up to `longest_s`.

    A worker that lived for `steady_s` shows that starting again helps: the count begins anew.
    """

    def __init__(self, first_s: float = 0.5, longest_s: float = 30.0, steady_s: float = 60.0) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._steady_s = steady_s
        self._failures = 0

    def after(self, lived_s: float) -> float:
        """Seconds to wait after a life of so many seconds."""
        if lived_s >= self._steady_s:
            self._failures = 0
        failures, self._failures = self._failures, self._failures + 1
        if failures == 0:
            return 0.0
        return min(self._longest_s, self._first_s * 2.0 ** min(failures - 1, 30))
