"""Which events train, validate and test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.columns import PARTS, Dataset

_GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, lie evenly in 0..1 whatever stretch of numbers is taken."""

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of events, each ascending (so in order of time), disjoint, together all events."""

    train: Index
    validation: Index
    test: Index

    @property
    def train_and_validation(self) -> Index:
        """Both, in order of time: what a model is refitted on before the test."""
        return np.sort(np.concatenate([self.train, self.validation]))


def leave_last_out(dataset: Dataset) -> Split:
    """Each user's last event is test, the one before validation; users of fewer than 3 events only train.

    Where the order of events means nothing, the last one is an arbitrary one.
    """
    by_user = np.argsort(dataset.event_user, kind="stable")
    counts = np.bincount(dataset.event_user, minlength=dataset.users)
    last = np.cumsum(counts)[counts >= 3] - 1
    test, validation = np.sort(by_user[last]), np.sort(by_user[last - 1])
    held_out = np.zeros(dataset.events, bool)
    held_out[test] = held_out[validation] = True
    return Split(np.flatnonzero(~held_out), validation, test)


def leave_users_out(dataset: Dataset, test: float = 0.1, validation: float = 0.1) -> Split:
    """All events of some users are test, those of others validation: nothing of these is trained on.

    The users are spread evenly over the rows, so the choice repeats. It says what a model knows of strangers,
    by their profiles for instance; it does not judge time, for everybody else is trained on up to the end.

    Raises:
        ValueError: the shares leave no user to train on, or none to test on.
    """
    cycle = (np.arange(dataset.users) * _GOLDEN) % 1.0
    user_test, user_validation = cycle >= 1 - test, (cycle >= 1 - test - validation) & (cycle < 1 - test)
    is_test, is_validation = user_test[dataset.event_user], user_validation[dataset.event_user]
    if not is_test.any() or (is_test | is_validation).all():
        raise ValueError(
            f"{dataset.name}: shares test={test} and validation={validation} of {dataset.users} users leave "
            "none to train on, or none to test on"
        )
    train = np.flatnonzero(~is_test & ~is_validation)
    return Split(train, np.flatnonzero(is_validation), np.flatnonzero(is_test))


def global_time(dataset: Dataset, test: float = 0.1, validation: float = 0.1) -> Split:
    """The last share of events by time is test, the share before it validation.

    A cut never parts events of one time: they all go to the later side.

    Raises:
        ValueError: the shares leave no event to train on, or the times are made up.
    """
    if dataset.order != "time":
        raise ValueError(
            f"{dataset.name}: global-time wants real times, those of this data set are made up (order = "
            f"{dataset.order!r}); use leave-last-out, or given where the events have parts"
        )
    if test < 0 or validation < 0 or test + validation >= 1:
        raise ValueError(f"shares test={test} and validation={validation} leave nothing to train on")
    second = _cut(dataset, 1 - test)
    first = min(_cut(dataset, 1 - test - validation), second)
    if first == 0:
        raise ValueError("no event is older than the cut; use leave-last-out")
    events = np.arange(dataset.events)
    return Split(events[:first], events[first:second], events[second:])


def given(dataset: Dataset) -> Split:
    """The split that the data set brings: the `part` of each event.

    Raises:
        ValueError: it brings none, or a user has an event of one part after one of a later part: histories
            are what came before, so that training would look into the test.
    """
    part = dataset.event_part
    if part is None:
        raise ValueError(
            f"{dataset.name}: the protocol is given, but the events have no column `part` "
            f"({', '.join(PARTS)}); add it, or use leave-last-out or global-time"
        )
    order = np.argsort(dataset.event_user, kind="stable")
    user, sorted_part = dataset.event_user[order], part[order]
    astray = np.flatnonzero((np.diff(user) == 0) & (np.diff(sorted_part) < 0))
    if len(astray):
        at = int(astray[0])
        raise ValueError(
            f"{dataset.name}: user {dataset.user_ids[user[at]]!r} has a {PARTS[sorted_part[at + 1]]} event "
            f"after a {PARTS[sorted_part[at]]} event; each user's parts have to follow each other in time"
        )
    train, validation, test = (np.flatnonzero(part == index) for index in range(len(PARTS)))
    return Split(train, validation, test)


@dataclass(frozen=True, slots=True)
class Warmth:
    """Of the events in question, which have a user, and which an item, that training has seen."""

    warm_user: Mask
    warm_item: Mask


def warmth(dataset: Dataset, train: NDArray[np.integer[Any]], events: NDArray[np.integer[Any]]) -> Warmth:
    """Masks over `events` [e]: known user, known item, given that the events `train` were seen."""
    known_users = np.zeros(dataset.users, bool)
    known_users[dataset.event_user[train]] = True
    return Warmth(
        known_users[dataset.event_user[events]], known_items(dataset, train)[dataset.event_item[events]]
    )


def known_items(dataset: Dataset, train: NDArray[np.integer[Any]]) -> Mask:
    """Items [m] that the events `train` touch."""
    known = np.zeros(dataset.items, bool)
    known[dataset.event_item[train]] = True
    return known


def _cut(dataset: Dataset, share: float) -> int:
    position = round(dataset.events * share)
    if position >= dataset.events:
        return dataset.events
    return int(np.searchsorted(dataset.event_time_ms, dataset.event_time_ms[position], side="left"))
