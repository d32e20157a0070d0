"""A data set's events by user, and the requests that training and evaluation replay from them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.columns import Dataset
from models.encode import History, encode_histories
from models.schema import Schema

Index = NDArray[np.int64]
Rows = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Requests:
    """R moments at which a user went for an item: `user`, `target` rows, `now_ms`, `placement`, all [R].

    The history of request r are the timeline's places `begin[r]` up to, not including, `end[r]`.
    """

    user: Rows
    target: Rows
    now_ms: Index
    placement: NDArray[np.int16]
    begin: Index
    end: Index

    def __len__(self) -> int:
        return len(self.user)

    def at(self, index: NDArray[Any] | slice) -> Requests:
        """The requests at `index`."""
        return Requests(*(getattr(self, each.name)[index] for each in fields(self)))


@dataclass(frozen=True, slots=True)
class Windows:
    """W training sequences: `user` [W], `history` [W, T], `target` [W, T] the item to find there or -1."""

    user: Rows
    history: History
    target: Rows


class Timeline:
    """E events sorted by user, then time (ties in the file's order), in columns [E].

    `first` says that the user had no earlier event with the item. `place[e]` is where event e of the data set
    stands; user u owns places `start[u]` up to `start[u + 1]`.
    """

    def __init__(self, dataset: Dataset) -> None:
        order = np.argsort(dataset.event_user, kind="stable")
        self.user = dataset.event_user[order]
        self.item = dataset.event_item[order]
        self.kind = dataset.event_kind[order].astype(np.int64) + 1
        self.time_ms = dataset.event_time_ms[order]
        self.placement = dataset.event_placement[order]
        self.first = np.zeros(dataset.events, bool)
        pairs = self.user.astype(np.int64) * dataset.items + self.item
        self.first[np.unique(pairs, return_index=True)[1]] = True
        self.start = np.zeros(dataset.users + 1, np.int64)
        np.cumsum(np.bincount(dataset.event_user, minlength=dataset.users), out=self.start[1:])
        self.place = np.empty(dataset.events, np.int64)
        self.place[order] = np.arange(dataset.events)

    def requests(self, events: NDArray[np.integer[Any]], *, ahead: bool = False) -> Requests:
        """A request per event of the data set: the user at that moment, everything earlier as history.

        With `ahead` each user asks but once, at the first of his `events`, for all of them: his requests have
        moment and history in common and differ in the target. Events with an item that the user has been at
        before make no request: lists leave out what was seen.
        """
        place = np.sort(self.place[events]) if ahead else self.place[events]
        asked = place[np.searchsorted(self.user[place], self.user[place])] if ahead else place
        new = self.first[place]
        place, asked = place[new], asked[new]
        user = self.user[place]
        return Requests(
            user, self.item[place], self.time_ms[asked], self.placement[asked], self.start[user], asked
        )

    def histories(self, schema: Schema, requests: Requests, now_ms: Index | None = None) -> History:
        """The newest `schema.history_length` events of each request's history, encoded: [R, T]."""
        steps = np.arange(-schema.history_length, 0)
        where = requests.end[:, None] + steps
        mask = where >= requests.begin[:, None]
        where = np.maximum(where, 0)
        return encode_histories(
            schema,
            self.item[where],
            self.kind[where],
            self.time_ms[where],
            mask,
            requests.now_ms if now_ms is None else now_ms,
        )

    def windows(self, schema: Schema, events: NDArray[np.integer[Any]]) -> Windows:
        """Sequences for training at every position: the target is the next item.

        Each user's `events` are cut into windows of T + 1, from the newest back, that overlap by a quarter,
        so that early places of a window have context. The target is -1 at a pad, and where the user has been
        at the item before; a window without any target is left out. The pad before a user's first event has
        one of his events as target, whichever: this is how the towers learn what to show to somebody of whom
        they know a profile at most, for such a list should hold what he goes for at all (our choice).
        """
        place = np.sort(self.place[events])
        length = schema.history_length
        begin, last = _cuts(self.user[place], length + 1, max(length // 4, 1))
        where = last[:, None] + np.arange(-length, 0)
        mask = where >= begin[:, None]
        opening = (where == begin[:, None] - 1) & self._opens(place[begin])[:, None]
        following = place[np.clip(where + 1, 0, len(place) - 1)]
        target = np.where(mask & self.first[following], self.item[following], -1)
        target = np.where(opening, self._any(place, begin, last)[:, None], target)
        return self._windows(schema, place, where, mask, target, place[last])

    def sets(self, schema: Schema, events: NDArray[np.integer[Any]]) -> Windows:
        """The same for encoders that read a set: windows of T that do not overlap, each event's own item the
        target, to be found from the others; one of a user's events is to be found from nothing, too."""
        place = np.sort(self.place[events])
        length = schema.history_length
        begin, last = _cuts(self.user[place], length, 0)
        where = last[:, None] + np.arange(-length + 1, 1)
        mask = where >= begin[:, None]
        opening = (where == begin[:, None] - 1) & self._opens(place[begin])[:, None]
        own = place[np.maximum(where, 0)]
        target = np.where(mask & self.first[own], self.item[own], -1)
        target = np.where(opening, self._any(place, begin, last)[:, None], target)
        return self._windows(schema, place, where, mask, target, place[last])

    def _windows(
        self, schema: Schema, place: Index, where: Index, mask: NDArray[np.bool_], target: Rows, now: Index
    ) -> Windows:
        inputs = place[np.maximum(where, 0)]
        history = encode_histories(
            schema, self.item[inputs], self.kind[inputs], self.time_ms[inputs], mask, self.time_ms[now]
        )
        useful = np.flatnonzero((target >= 0).any(axis=1))
        return Windows(
            self.user[now][useful], history.at(useful), target[useful].astype(np.int32, copy=False)
        )

    def _any(self, place: Index, begin: Index, last: Index) -> Rows:
        """The item of one event of each window, always the same one."""
        share = np.random.default_rng(0).random(len(begin))
        return self.item[place[begin + (share * (last - begin + 1)).astype(np.int64)]]

    def _opens(self, place: Index) -> NDArray[np.bool_]:
        """Which places are their user's first event."""
        opens: NDArray[np.bool_] = place == self.start[self.user[place]]
        return opens

    def beside(self, requests: Requests, kept: Sequence[Index], kind: Index) -> tuple[Timeline, Requests]:
        """The timeline with further histories, of R `requests`, behind the events, which keep their places.

        The history of request r are the events at places `kept[r]`, in this order, so that any of the user's
        may be left out. Where it ends stands the target, of `kind[r]`.
        """
        lengths = np.array([len(each) for each in kept], np.int64)
        own = np.cumsum(lengths + 1) - 1
        where = np.concatenate([np.append(each, 0) for each in kept]) if len(kept) else np.zeros(0, np.int64)
        other = copy(self)
        targets = {
            "user": requests.user,
            "item": requests.target,
            "kind": kind,
            "time_ms": requests.now_ms,
            "placement": requests.placement,
        }
        for name, values in targets.items():
            column = getattr(self, name)
            copies = column[where]
            copies[own] = values
            setattr(other, name, np.concatenate([column, copies]))
        other.first = np.concatenate([self.first, np.zeros(len(where), bool)])
        end = len(self.item) + own
        return other, replace(requests, begin=end - lengths, end=end)

    def seen(self, requests: Requests) -> list[Rows]:
        """Items of each whole history, in order of time."""
        return [
            self.item[begin:end]
            for begin, end in zip(requests.begin.tolist(), requests.end.tolist(), strict=True)
        ]


def _cuts(user: Rows, size: int, overlap: int) -> tuple[Index, Index]:
    """First and last places of windows of at most `size` over runs of equal `user`, from each run's end back.

    A run of one is no window.
    """
    begins, lasts = [], []
    bounds = np.flatnonzero(np.diff(user, prepend=-1, append=-1))
    for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        end = high
        while end - low >= 2:
            begin = max(low, end - size)
            begins.append(begin)
            lasts.append(end - 1)
            if begin == low:
                break
            end = begin + overlap
    return np.array(begins, np.int64), np.array(lasts, np.int64)


def newest_per_user(timeline: Timeline, events: NDArray[np.integer[Any]], count: int) -> Index:
    """Of `events`, each user's `count` newest ones, leaving at least two older: indices into `events`."""
    order = np.argsort(timeline.place[events])
    user = timeline.user[timeline.place[events][order]]
    total = np.bincount(user, minlength=int(user.max()) + 1) if len(user) else np.zeros(1, np.int64)
    rank = np.arange(len(user)) - np.repeat(np.cumsum(total) - total, total)
    from_end = total[user] - rank
    return np.sort(order[(from_end <= count) & (rank >= 2)])
