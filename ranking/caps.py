"""Caps: of what is alike only so many within a window of places, the best first."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]
Positions = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class CodedCap:
    """Of N candidates and B places before them, each with up to V values, none occurs more than `most` times.

    `codes` [N, V] and `before` [B, V], the last place last, are padded with -1, which is no value; a
    candidate has a value once. `window` places in a row are looked at, those before the list included; None
    = all.
    """

    codes: Codes
    before: Codes
    most: int
    window: int | None = None


def capped(caps: Sequence[CodedCap], count: int, size: int) -> Positions:
    """At most `size` of the positions 0..count - 1: at each place the first that breaks no cap (our choice).

    The list ends where none is left that may stand at the next place; a place is never left empty.
    """
    tallies = [Tally(cap) for cap in caps]
    left = np.ones(count, bool)
    picked: list[int] = []
    while len(picked) < min(size, count):
        able = left
        for tally in tallies:
            able = able & tally.able()
        best = int(np.argmax(able))
        if not able[best]:
            break
        left[best] = False
        picked.append(best)
        for tally in tallies:
            tally.add(tally.cap.codes[best])
    return np.array(picked, np.intp)


class Tally:
    """How often each value stands in the places that the next one is seen with; the last count is of -1."""

    def __init__(self, cap: CodedCap) -> None:
        self.cap = cap
        highest = max((int(codes.max()) for codes in (cap.codes, cap.before) if codes.size), default=-1)
        self._counts = np.zeros(highest + 2, np.int64)
        self._places: deque[Codes] = deque()
        for codes in cap.before:
            self.add(codes)

    def able(self) -> NDArray[np.bool_]:
        """Candidates [N] that may stand at the next place."""
        return np.asarray((self._counts[self.cap.codes] < self.cap.most).all(axis=1))

    def add(self, codes: Codes) -> None:
        """These values [V] stand at the next place."""
        self._counts[codes] += 1
        self._places.append(codes)
        if self.cap.window is not None and len(self._places) >= self.cap.window:
            self._counts[self._places.popleft()] -= 1
        self._counts[-1] = 0
