"""Sponsored impressions as requests with one candidate each."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.columns import ABSENT, Dataset
from models.training.timeline import Requests, Timeline

Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shown:
    """S impressions with a bid, in order of time: the request's target is the ad that was shown."""

    requests: Requests
    position: NDArray[np.int32]
    clicked: NDArray[np.bool_]
    bid_micros: Index
    market_price_micros: Index
    """`ABSENT` where the log has none."""
    propensity: NDArray[np.float32]
    """NaN where the log has none."""

    def __len__(self) -> int:
        return len(self.requests)

    def at(self, index: NDArray[Any] | slice) -> Shown:
        """The impressions at `index`."""
        columns = [getattr(self, each.name)[index] for each in fields(self)[1:]]
        return Shown(self.requests.at(index), *columns)

    def before(self, time_ms: int) -> Shown:
        """Those earlier than a moment."""
        return self.at(self.requests.now_ms < time_ms)

    def since(self, time_ms: int) -> Shown:
        """The others."""
        return self.at(self.requests.now_ms >= time_ms)


def sponsored(dataset: Dataset, timeline: Timeline) -> Shown:
    """The impressions of known users with a bid.

    Raises:
        ValueError: the data set has none.
    """
    shown = dataset.impressions
    rows = (
        np.zeros(0, np.int64)
        if shown is None
        else np.flatnonzero((shown.bid_micros != ABSENT) & (shown.user != ABSENT))
    )
    if shown is None or not len(rows):
        raise ValueError(
            f"{dataset.name}: no sponsored impressions: the table `impressions` needs rows with `user_id` "
            "and `bid_micros`"
        )
    placement = np.zeros(len(shown), np.int16) if shown.placement is None else shown.placement
    return Shown(
        requests_at(timeline, shown.user[rows], shown.item[rows], shown.time_ms[rows], placement[rows]),
        shown.position[rows],
        shown.clicked[rows],
        shown.bid_micros[rows],
        shown.market_price_micros[rows],
        shown.propensity[rows],
    )


def requests_at(
    timeline: Timeline,
    user: NDArray[np.int32],
    item: NDArray[np.int32],
    time_ms: Index,
    placement: NDArray[np.int16],
) -> Requests:
    """Users who meet an item at a moment, all [R]; their histories are the events before it."""
    times = np.concatenate([timeline.time_ms, time_ms])
    start = int(times.min(initial=0))
    span = int(times.max(initial=0)) - start + 2
    key = timeline.user.astype(np.int64) * span + (timeline.time_ms - start)
    end = np.searchsorted(key, user.astype(np.int64) * span + (time_ms - start), side="left")
    return Requests(user, item, time_ms, placement, timeline.start[user], end)
