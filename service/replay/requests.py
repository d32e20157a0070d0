"""The test period as requests: who asks when, and what they went for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.columns import Dataset
from models.data.splits import Split
from models.training.config import SplitConfig
from models.training.timeline import Timeline
from service.cascade.query import ItemId
from service.features.store import UserRecord

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

    @property
    def warm(self) -> NDArray[np.bool_]:
        """Requests of users with a history, [R]."""
        return self.end > self.begin

    def cold_items(self, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of `relevant` [R, L] are no items of `known` [m] (`models.data.splits.known_items`)."""
        return (self.relevant >= 0) & ~known[self.relevant]


def split_of(dataset: Dataset, config: SplitConfig) -> Split:
    """The split that a bundle was trained under."""
    return config.apply(dataset)


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


def record_of(dataset: Dataset, timeline: Timeline, requests: HeldOut, r: int) -> UserRecord:
    """What the store would hold of the user at request r."""
    part = slice(int(requests.begin[r]), int(requests.end[r]))
    return UserRecord(
        attributes=dataset.user_records[requests.user[r]],
        item_ids=[ItemId(dataset.item_ids[row]) for row in timeline.item[part].tolist()],
        kinds=[dataset.event_kinds[token - 1] for token in timeline.kind[part].tolist()],
        timestamps_ms=timeline.time_ms[part].tolist(),
        known=True,
    )
