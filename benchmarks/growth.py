"""`growth`: CPU of the retrieval path per request as items grow: interests, index search, filters.

In this process, on one thread, through the stages that serve: from a user's stored record to about a thousand
eligible candidates. Redis, HTTP and everything after retrieval are left out, for they do not grow with items.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.people import KIND
from benchmarks.report import Report, Row
from benchmarks.scale import SERVED, Scale
from benchmarks.world import NOW_MS, World, item_id, user_id
from models.indexing.tuning import words
from retrieval.exact import RECALL_AT
from service.bundle import Bundle
from service.cascade.assemble import assemble
from service.cascade.cascade import Cascade
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import ItemId, Kind, Request, UserId
from service.engine import Engine
from service.features.store import UserRecord

KINDS = (SERVED, "pq4")
GOAL = 1.6
"""From 10^5 to 10^6 items."""
PARTS = ("ids to rows", "user tower", "interests", "search", "filters")
REQUESTS = 200
ROUNDS = 5
BEYOND = 10_000_000
_GUESSED = "extrapolated"

Millis = NDArray[np.float64]
Asked = tuple[Request, UserRecord, Moment]


@dataclass(frozen=True)
class Subject:
    """One size and kind: the engine that serves it, and what the table says of its index."""

    items: int
    engine: Engine
    index: str
    recall: float | None
    asked: Sequence[Asked]


def growth(root: Path, sizes: Sequence[int], command: str) -> Report:
    """Time every size with every kind of `KINDS`; they take turns, so that a busy moment hits all."""
    subjects = [subject for items in sizes for subject in _subjects(Scale(root, items))]
    taken: list[list[Millis]] = [[] for _ in subjects]
    gc.freeze()
    for number in range(ROUNDS + 1):
        for subject, times in zip(subjects, taken, strict=True):
            found = _round(subject)
            # The first round reads the pages of the maps.
            if number:
                times.append(found)
    rows = [_row(subject, np.concatenate(times)) for subject, times in zip(subjects, taken, strict=True)]
    for kind in KINDS:
        mine = [row for row in rows if str(row["index"]).startswith(kind) and row["items"] < BEYOND]
        if len(mine) > 1:
            rows.append(_beyond(kind, mine[-2], mine[-1]))
    return Report("growth", command, rows, _notes(rows))


def _subjects(scale: Scale) -> Iterator[Subject]:
    """One per kind, with the same catalogue and the same requests."""
    engine = Engine.build(Bundle.open(scale.bundle, verify=False), NullObserver())
    users = np.linspace(0, scale.world.users - 1, REQUESTS).astype(int).tolist()
    asked = [asked_of(scale.world, user) for user in users]
    for kind in KINDS:
        index, card, _ = scale.index(kind)
        bundle = replace(engine.bundle, index=index)
        cascades = assemble(engine.plan, bundle, engine.catalogue, engine.observer)
        own = replace(engine, bundle=bundle, cascades=cascades)
        yield Subject(scale.items, own, words(card.settings), card.recall.measured, asked)


def asked_of(world: World, user: int) -> Asked:
    """A request of a user, with his record and its moment."""
    part = world.events_of(user)
    rows, times = world.items[part].tolist(), world.times_ms[part].tolist()
    record = UserRecord({}, [ItemId(item_id(row)) for row in rows], [KIND] * len(rows), times, True)
    return Request(user_id=UserId(user_id(user))), record, Moment(f"growth-{user}", NOW_MS)


def _round(subject: Subject) -> Millis:
    """CPU ms of each part for each request: [n, parts]."""
    cascade: Cascade = subject.engine.cascades[Kind.RECOMMEND]
    (source,) = cascade.sources
    taken = np.zeros((len(subject.asked), len(PARTS)))
    for number, (request, record, moment) in enumerate(subject.asked):
        clock = [time.thread_time()]
        query = subject.engine.hydrate(request, record, moment)
        clock.append(time.thread_time())
        for hydrator in cascade.hydrators:
            query = hydrator.hydrate(query)
            clock.append(time.thread_time())
        batch = source.fetch(query)
        clock.append(time.thread_time())
        for one in cascade.filters:
            if one.applies(query):
                batch = batch.take(one.keep(query, batch))
        clock.append(time.thread_time())
        taken[number] = np.diff(clock) * 1000.0
    return taken


def _row(subject: Subject, taken: Millis) -> Row:
    parts = np.median(taken, axis=0)
    return {
        "items": subject.items,
        "index": subject.index,
        f"recall@{RECALL_AT}": subject.recall,
        "CPU ms per request": float(np.median(taken.sum(axis=1))),
        "slowest tenth": float(np.percentile(taken.sum(axis=1), 90)),
        **{f"{name} ms": float(ms) for name, ms in zip(PARTS, parts, strict=True)},
    }


def _beyond(kind: str, smaller: Row, larger: Row) -> Row:
    """The next sizes by the slope between two measured ones, on double logarithmic scales."""
    steps = math.log(BEYOND / larger["items"]) / math.log(larger["items"] / smaller["items"])
    guessed = {
        name: larger[name] * (larger[name] / smaller[name]) ** steps
        for name in larger
        if name.endswith(" ms") or name in ("CPU ms per request", "slowest tenth")
    }
    return {**larger, **guessed, "items": BEYOND, "index": f"{kind}, {_GUESSED}", f"recall@{RECALL_AT}": None}


def _notes(rows: Sequence[Row]) -> list[str]:
    notes = [
        "Medians of the CPU time of one thread over requests of users with 0 to 200 events, five interest "
        "queries for 1,000 candidates each; the parts' medians need not add up.",
    ]
    for kind in KINDS:
        mine = [row for row in rows if str(row["index"]).startswith(kind)]
        cost = {row["items"]: float(row["CPU ms per request"]) for row in mine}
        if {100_000, 1_000_000} <= set(cost):
            factor = cost[1_000_000] / cost[100_000]
            verdict = "reached" if factor <= GOAL else "missed"
            notes.append(f"{kind}, from 10^5 to 10^6 items: {factor:.2f} times. Goal <= {GOAL}: {verdict}.")
    if rows[-1]["items"] == BEYOND:
        notes.append("10^7 is no measurement: it continues the last slope on double logarithmic scales.")
    return notes
