"""The world `scale`: many items in overlapping clusters, and users whose tastes lie between them.

Laws; directions have 64 dimensions. Their noise has a standard deviation of (1 + i)^-0.35 in the i-th of them
(from 0), because the spectrum of a trained item tower falls, too:

centres  600, each a department (one of 40) plus 0.9 of its own, as unit vectors: neighbours overlap. A centre
         has a share of the items that falls like (t + 1)^-0.5.
items    vector = centre + 0.7 * noise, both of unit length before, then normalised; 3 in 10 sit halfway to a
         second centre. A centre is some 0.8 from its nearest ones, so they overlap. Calibrated against the
         real vectors of docs/adr/0009: of 316 cells at 10^5 items, 8 probes find .944 of the best 200 and 16
         find .972 (there, of 256 cells 8 find .963 and of 316 cells 16 find .990), so it is a little harder.
         Log popularity is normal(0, 1.2); the bias is 0.3 times that.
users    50,000 with 1 to 5 tastes, each a centre + 0.7 noise; Dirichlet(1) weights.
events   uniformly 0 to 200 per user. Each draws a taste, four of its centre's items by popularity, and takes
         the one closest to the taste; 15 in 100 are any item, by popularity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifacts import atomic_folder
from retrieval.clusters import unit

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]

DIM = 64
USERS = 50_000
MOST_EVENTS = 200
SEED = 7
SPREAD = 0.7
CENTRES = 600
DEPARTMENTS = 40
NOW_MS = 1_790_000_000_000
DAY_MS = 86_400_000
LAWS = 1
"""Counts up when a law changes, so that no world of older laws is taken from the cache."""

_BLOCK = 1 << 17


@dataclass(frozen=True)
class World:
    """m items, U users, E events sorted by user and then time.

    `vectors` [m, 65] float32: unit direction, then the bias; `topic` [m] the centre; `popularity` [m] the
    number of events; `starts` [U + 1] cut the events `items` [E] and `times_ms` [E] by user.
    """

    vectors: Floats
    topic: Rows
    popularity: Floats
    starts: NDArray[np.int64]
    items: Rows
    times_ms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.starts) - 1

    @cached_property
    def event_users(self) -> Rows:
        """The user of each event [E]."""
        return np.repeat(np.arange(self.users, dtype=np.int32), np.diff(self.starts))

    def events_of(self, user: int) -> slice:
        """Where a user's events are, oldest first."""
        return slice(int(self.starts[user]), int(self.starts[user + 1]))

    def save(self, target: Path) -> None:
        """Write one array per file into the new folder `target`."""
        with atomic_folder(target) as folder:
            for each in fields(self):
                np.save(folder / f"{each.name}.npy", getattr(self, each.name))

    @classmethod
    def open(cls, folder: Path) -> World:
        """Map the arrays that `save` wrote."""
        return cls(**{each.name: np.load(folder / f"{each.name}.npy", mmap_mode="r") for each in fields(cls)})


def item_id(row: int) -> str:
    """Ids are strings; the rival's are the same rows as numbers."""
    return f"item-{row}"


def user_id(user: int) -> str:
    """Ids are strings."""
    return f"user-{user}"


def draw_world(items: int, users: int = USERS, seed: int = SEED) -> World:
    """The world of `items` items. The same arguments give the same world; the users do not depend on it."""
    shape, goods, people = (np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(3))
    centres = _centres(shape)
    directions, topic = _items(items, centres, goods)
    appeal = goods.normal(0.0, 1.2, items).astype(np.float32)
    shelves = _Shelves(topic, np.exp(appeal.astype(np.float64)))
    starts, rows = _events(users, directions, centres, shelves, people)
    return World(
        vectors=np.column_stack([directions, 0.3 * appeal]).astype(np.float32),
        topic=topic,
        popularity=np.bincount(rows, minlength=items).astype(np.float32),
        starts=starts,
        items=rows,
        times_ms=_times(starts, people),
    )


def titles(topic: Rows) -> Iterator[dict[str, Any]]:
    """The attributes of the items: two words of the topic and a number, the department, a price."""
    for row, one in enumerate(topic.tolist()):
        yield {
            "title": f"word{one} thing{one % 97} {row}",
            "department": f"department {one % DEPARTMENTS}",
            "price": round(1.0 + (row * 7919 % 9973) / 100.0, 2),
        }


def _noise(rng: np.random.Generator, count: int) -> Floats:
    """Directions [count, d] whose spectrum falls."""
    scale = (1.0 + np.arange(DIM, dtype=np.float32)) ** -0.35
    return unit(rng.standard_normal((count, DIM), np.float32) * scale)


def _centres(rng: np.random.Generator) -> Floats:
    departments = _noise(rng, DEPARTMENTS)
    own = _noise(rng, CENTRES)
    return unit(departments[np.arange(CENTRES) % DEPARTMENTS] + 0.9 * own)


def _shares() -> NDArray[np.float64]:
    share = np.arange(1, CENTRES + 1, dtype=np.float64) ** -0.5
    return np.asarray(share / share.sum())


def _items(count: int, centres: Floats, rng: np.random.Generator) -> tuple[Floats, Rows]:
    topic = rng.choice(CENTRES, count, p=_shares()).astype(np.int32)
    directions = np.empty((count, DIM), np.float32)
    for start in range(0, count, _BLOCK):
        part = topic[start : start + _BLOCK]
        second = rng.choice(CENTRES, len(part), p=_shares())
        halfway = (rng.random(len(part)) < 0.3)[:, None]
        middle = np.where(halfway, unit(centres[part] + centres[second]), centres[part])
        directions[start : start + len(part)] = unit(middle + SPREAD * _noise(rng, len(part)))
    return directions, topic


class _Shelves:
    """Draws items by weight, from all or from one topic, by their cumulated weights in order of topic."""

    def __init__(self, topic: Rows, weight: NDArray[np.float64]) -> None:
        self._rows = np.argsort(topic, kind="stable").astype(np.int32)
        self._edges = np.concatenate([[0.0], np.cumsum(weight[self._rows])])
        bounds = np.searchsorted(topic[self._rows], np.arange(CENTRES + 1))
        self._low, self._high = self._edges[bounds[:-1]], self._edges[bounds[1:]]

    def of_topic(self, topics: Rows, draws: int, rng: np.random.Generator) -> Rows:
        """Items [n, draws] of the topics [n]; a topic without items gives one of a neighbouring topic."""
        low, high = self._low[topics][:, None], self._high[topics][:, None]
        return self._at(low + rng.random((len(topics), draws)) * (high - low))

    def any(self, count: int, rng: np.random.Generator) -> Rows:
        """Items [count] of any topic."""
        return self._at(rng.random(count) * self._edges[-1])

    def _at(self, place: NDArray[np.float64]) -> Rows:
        position = np.searchsorted(self._edges, place, side="right") - 1
        found: Rows = self._rows[np.clip(position, 0, len(self._rows) - 1)]
        return found


def _events(
    users: int, directions: Floats, centres: Floats, shelves: _Shelves, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Rows]:
    most = 5
    count = rng.integers(0, MOST_EVENTS + 1, users)
    topics = rng.choice(CENTRES, (users, most), p=_shares()).astype(np.int32)
    tastes = unit(centres[topics.ravel()] + 0.7 * _noise(rng, users * most)).reshape(users, most, DIM)
    weights = rng.gamma(1.0, size=(users, most))
    weights[np.arange(most) >= rng.integers(1, most + 1, users)[:, None]] = 0.0
    chance = np.cumsum(weights, axis=1) / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    starts = np.concatenate([[0], np.cumsum(count)])
    owner = np.repeat(np.arange(users), count)
    rows = np.empty(len(owner), np.int32)
    for start in range(0, len(owner), _BLOCK):
        user = owner[start : start + _BLOCK]
        which = (rng.random(len(user))[:, None] > chance[user]).sum(axis=1).clip(max=most - 1)
        four = shelves.of_topic(topics[user, which], 4, rng)
        liking = np.einsum("nd,nkd->nk", tastes[user, which], directions[four])
        taken = four[np.arange(len(user)), liking.argmax(axis=1)]
        stray = rng.random(len(user)) < 0.15
        rows[start : start + len(user)] = np.where(stray, shelves.any(len(user), rng), taken)
    return starts.astype(np.int64), rows


def _times(starts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Ages of up to half a year, oldest first within each user."""
    owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    age = (rng.random(len(owner)) * 180 * DAY_MS).astype(np.int64)
    order = np.lexsort((-age, owner))
    return NOW_MS - age[order]
