"""When items can be had: from a moment on, until a moment, or between the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.attributes import as_number

Longs = NDArray[np.int64]

FROM, UNTIL = "available_from", "available_until"
"""Keys of a live record, in ms since the epoch: the first moment of availability, and the first after it."""
_EVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Window:
    """Open at `opens` and later, but before `closes`."""

    opens: int = 0
    closes: int = _EVER

    def is_open(self, now_ms: int) -> bool:
        """Whether the item can be had at this moment."""
        return self.opens <= now_ms < self.closes


ALWAYS = Window()


def window_of(record: Mapping[str, Any]) -> Window:
    """The window of a live record; a moment that cannot be read sets no bound."""
    opens, closes = as_number(record.get(FROM)), as_number(record.get(UNTIL))
    return Window(
        int(opens) if np.isfinite(opens) else 0,
        int(closes) if np.isfinite(closes) else _EVER,
    )


@dataclass(frozen=True)
class Schedule:
    """The windows of the listed rows that are not always open."""

    windows: Mapping[int, Window] = field(default_factory=dict)

    def put(self, changed: Mapping[int, Window | None]) -> Schedule:
        """With these rows' windows replaced; None or `ALWAYS` forgets a row."""
        if not any(row in self.windows or window not in (None, ALWAYS) for row, window in changed.items()):
            return self
        every = {**self.windows, **changed}
        return Schedule({row: window for row, window in every.items() if window not in (None, ALWAYS)})

    def renumbered(self, rows: Mapping[int, int]) -> Schedule:
        """The same windows under other row numbers; rows that are not named keep theirs."""
        return Schedule({rows.get(row, row): window for row, window in self.windows.items()})

    @cached_property
    def rows(self) -> NDArray[np.int32]:
        """The rows [n] that have a window."""
        return np.fromiter(self.windows, np.int32)

    def open_at(self, now_ms: int) -> NDArray[np.bool_]:
        """Which of `rows` can be had at a moment."""
        return (self._opens <= now_ms) & (now_ms < self._closes)

    def next_after(self, now_ms: int) -> int | None:
        """The next moment after this one at which a window opens or closes; None = there is none."""
        moments = self._moments
        place = int(np.searchsorted(moments, now_ms, "right"))
        return int(moments[place]) if place < len(moments) and moments[place] < _EVER else None

    @cached_property
    def _opens(self) -> Longs:
        return np.array([window.opens for window in self.windows.values()], np.int64)

    @cached_property
    def _closes(self) -> Longs:
        return np.array([window.closes for window in self.windows.values()], np.int64)

    @cached_property
    def _moments(self) -> Longs:
        return np.unique(np.concatenate([self._opens, self._closes]))
