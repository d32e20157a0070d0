"""The test period as requests: who asks when, and what they went for."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from models.training.timeline import Requests, Timeline

Rows = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """R requests: `user` [R] rows, `now_ms` [R], `relevant` [R, L] item rows padded with -1, and where each
    history ends in the timeline, `begin` and `end` [R]."""

    user: Rows
    now_ms: NDArray[np.int64]
    relevant: Rows
    begin: NDArray[np.int64]
    end: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.user)

    def at(self, index: NDArray[np.int64]) -> HeldOut:
        """The requests at `index`."""
        return HeldOut(*(getattr(self, each.name)[index] for each in fields(self)))

    @property
    def warm(self) -> NDArray[np.bool_]:
        """Requests of users with a history, [R]."""
        return self.end > self.begin

    def requests(self) -> Requests:
        """The same moments as the trainers know them; the first relevant item stands for all of them."""
        placement = np.zeros(len(self), np.int16)
        return Requests(self.user, self.relevant[:, 0], self.now_ms, placement, self.begin, self.end)

    def cold_items(self, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of `relevant` [R, L] are no items of `known` [m] (`models.data.splits.known_items`)."""
        return (self.relevant >= 0) & ~known[self.relevant]


def held_out(timeline: Timeline, test: NDArray[np.int64], *, after_last: bool = False) -> HeldOut:
    """One request per user of the test events, at the first of them; relevant is every test item that is new.

    Under every protocol a user's test events are his newest ones, so the history is all of his training and
    validation, and new is what is not in it. Users without either are cold.

    With `after_last` the request comes at the moment of the user's last known event instead, so that the time
    of the test event, which a service would know only when it happens, gives nothing away. A user whose test
    items are all old has no request: the lists leave out what was seen.
    """
    place = np.sort(timeline.place[test])
    user = timeline.user[place]
    first = np.flatnonzero(np.diff(user, prepend=-1))
    bounds = np.append(first, len(place))
    kept, relevant = [], []
    for r, (low, high) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        history = timeline.item[timeline.start[user[low]] : place[low]]
        new = np.setdiff1d(timeline.item[place[low:high]], history)
        if len(new):
            kept.append(r)
            relevant.append(new)
    padded = np.full((len(kept), max((len(each) for each in relevant), default=1)), -1, np.int32)
    for row, each in enumerate(relevant):
        padded[row, : len(each)] = each
    at = first[kept]
    begin, end = timeline.start[user[at]], place[at]
    asked = np.where(end > begin, end - 1, end) if after_last else end
    return HeldOut(user[at], timeline.time_ms[asked], padded, begin, end)
