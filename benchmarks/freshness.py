"""`freshness`: how long an item change, or an event, takes until answers know it, while others ask.

Two workers share one Redis. Items are made, hidden and deleted through the first one at a steady rate, each
sent when it is due, whatever became of the others. Both workers are asked, on every path in turn, for all
that was made in the last seconds; a change counts as seen when the first answer with it (or, for one that
hides or deletes, the first without it) has arrived. So the times include those answers and the wait for their
turn: they are upper bounds. All the while other users ask for ordinary lists.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.load import Arrivals
from benchmarks.machine import cores
from benchmarks.people import KIND, write_bodies, write_histories
from benchmarks.report import Report, Row
from benchmarks.scale import Scale
from benchmarks.serving import Redis, Server, our_worker, redis_server
from benchmarks.world import item_id, user_id

CHANGES_PER_S = 50.0
QUERIES_PER_S = 5.0
"""Ordinary requests, of each worker."""
EVENTS_PER_S = 2.0
GOAL_MS = 1000.0
USERS = 2000
"""Of the world; enough that no answer is like another."""
PRICE = 12_345.0
"""Of what is made here, and of nothing else."""
WINDOW_S = 4.0
"""Items younger than this are asked for; they must fit into one answer."""
PAUSE_S = 0.1
"""After each answer that watches."""
_PATIENCE_S = 5.0
_KINDS = ("new", "new", "new", "hidden", "deleted")
_PATHS: dict[str, dict[str, Any]] = {
    "/v1/recommend": {},
    "/v1/search": {"query": "freshness"},
    "/v1/similar": {"item_id": item_id(0)},
}


@dataclass(slots=True)
class Change:
    """One item change: what was done to which item, and when it was sent."""

    kind: str
    item: str
    sent: float


@dataclass
class Watch:
    """What one worker shows on one path: items that it has shown, and the seconds that each change took."""

    shown: set[str] = field(default_factory=set)
    waiting: list[Change] = field(default_factory=list)
    took: dict[str, list[float]] = field(default_factory=lambda: {"new": [], "gone": []})

    def see(self, items: set[str], now: float) -> None:
        """An answer arrived with these items."""
        left = []
        for change in self.waiting:
            if change.kind == "new" and change.item in items:
                self.took["new"].append(now - change.sent)
            elif change.kind != "new" and change.item not in items:
                self.took["gone"].append(now - change.sent)
            else:
                left.append(change)
        self.waiting[:] = left
        self.shown |= items


class Trial:
    """Changes items through the first of two workers, and watches both."""

    def __init__(self, workers: list[Server]) -> None:
        self._workers = workers
        self._watches = {(worker.port, path): Watch() for worker in workers for path in _PATHS}
        self._alive: list[tuple[float, str]] = []
        self._ended = False
        self.errors = 0
        self.sent = 0
        self.events: list[float] = []
        self.heard = 0

    def watch(self, worker: Server, path: str) -> Watch:
        """What was seen of a worker on a path."""
        return self._watches[worker.port, path]

    async def run(self, seconds: float, bodies: Path) -> None:
        """Change, watch and ask for so long; then wait a few seconds at most for what is still to be seen."""
        loads = [
            Arrivals(worker.port, "/v1/recommend", bodies).run(QUERIES_PER_S, seconds, seed)
            for seed, worker in enumerate(self._workers)
        ]
        watching = [asyncio.create_task(self._look(worker)) for worker in self._workers]
        await asyncio.gather(self._change(seconds), self._act(seconds), *loads)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and any(watch.waiting for watch in self._watches.values()):
            await asyncio.sleep(PAUSE_S)
        self._ended = True
        await asyncio.gather(*watching)

    async def _change(self, seconds: float) -> None:
        calls = set()
        async with httpx.AsyncClient(base_url=self._workers[0].url, timeout=30) as client:
            start = time.monotonic()
            for number in range(round(CHANGES_PER_S * seconds)):
                await asyncio.sleep(max(0.0, start + number / CHANGES_PER_S - time.monotonic()))
                calls.add(asyncio.create_task(self._send(client, number)))
            await asyncio.gather(*calls)

    async def _send(self, client: httpx.AsyncClient, number: int) -> None:
        kind = _KINDS[number % len(_KINDS)]
        now = time.monotonic()
        old = next((one for one in self._alive if 1.0 < now - one[0] < WINDOW_S - 1.0), None)
        if kind == "new" or old is None:
            change = Change("new", f"fresh-{number}", now)
            self._alive.append((now, change.item))
            body = {
                "title": f"freshness {number}",
                "attributes": {"price": PRICE, "department": "department 1"},
                "created_at": round(time.time() * 1000),
            }
            call = client.put(f"/v1/items/{change.item}", json=body)
        else:
            self._alive.remove(old)
            change = Change(kind, old[1], now)
            path = f"/v1/items/{change.item}"
            call = client.delete(path) if kind == "deleted" else client.patch(path, json={"available": False})
        for watch in self._watches.values():
            # Only what was there can go.
            if change.kind == "new" or change.item in watch.shown:
                watch.waiting.append(change)
        self.sent += 1
        try:
            self.errors += not (await call).is_success
        except httpx.HTTPError:
            self.errors += 1

    async def _look(self, worker: Server) -> None:
        async with httpx.AsyncClient(base_url=worker.url, timeout=30) as client:
            while not self._ended:
                for path, own in _PATHS.items():
                    since = round((time.time() - WINDOW_S) * 1000)
                    made = [
                        {"field": "price", "op": "==", "value": PRICE},
                        {"field": "created_at", "op": ">=", "value": since},
                    ]
                    answer = await client.post(path, json={**own, "count": 200, "filter": {"all": made}})
                    self.errors += not answer.is_success
                    if answer.is_success:
                        self.watch(worker, path).see(_items(answer), time.monotonic())
                    await asyncio.sleep(PAUSE_S)

    async def _act(self, seconds: float) -> None:
        """A user takes an item of a list; the very next answer, of the other worker, must not have it."""
        first, second = self._workers
        async with httpx.AsyncClient(timeout=30) as client:
            for number in range(round(EVENTS_PER_S * seconds)):
                user = {"user_id": user_id(number % USERS)}
                await asyncio.sleep(1.0 / EVENTS_PER_S)
                before = await client.post(f"{first.url}/v1/recommend", json=user)
                taken = min(_items(before), default=item_id(number))
                event = {**user, "item_id": taken, "event": KIND}
                started = time.monotonic()
                stored = await client.post(f"{first.url}/v1/events", json={"events": [event]})
                after = await client.post(f"{second.url}/v1/recommend", json=user)
                failed = sum(not answer.is_success for answer in (before, stored, after))
                self.errors += failed
                if not failed:
                    self.events.append(time.monotonic() - started)
                    self.heard += taken not in _items(after)


def _items(answer: httpx.Response) -> set[str]:
    return {one["item_id"] for one in answer.json()["items"]} if answer.is_success else set()


def freshness(root: Path, items: int, command: str, seconds: float) -> Report:
    """Run the trial on the bundle of `items` items."""
    here = cores()
    scale = Scale(root, items)
    logs = root / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    people = replace(scale.world, starts=scale.world.starts[: USERS + 1])
    bodies, _ = write_bodies(people, 1000, logs)
    with redis_server(here[-1]) as store:
        write_histories(people, Redis(store.port).client)
        with contextlib.ExitStack() as stack:
            workers = [
                stack.enter_context(
                    our_worker(scale.bundle, store.port, here[0], logs / f"freshness-{number}.log", {})
                )
                for number in range(2)
            ]
            trial = Trial(workers)
            asyncio.run(trial.run(seconds, bodies))
    rows = list(_rows(trial, workers))
    return Report("freshness", command, rows, _notes(trial, rows, items, seconds))


def _rows(trial: Trial, workers: list[Server]) -> Iterator[Row]:
    for kind, name in (("new", "PUT to first shown"), ("gone", "hidden or deleted to gone")):
        for path in _PATHS:
            for worker, whose in zip(workers, ("took it", "other"), strict=True):
                watch = trial.watch(worker, path)
                missed = sum((one.kind == "new") == (kind == "new") for one in watch.waiting)
                yield _row(name, path, whose, watch.took[kind], missed)
    unheard = len(trial.events) - trial.heard
    yield _row("event to next answer", "/v1/recommend", "other", trial.events, unheard)


def _row(what: str, path: str, worker: str, took: list[float], missed: int) -> Row:
    p50, p99, most = (np.percentile(took or [np.nan], [50, 99, 100]) * 1000).tolist()
    return {
        "what": what,
        "path": path,
        "worker": worker,
        "changes": len(took),
        "p50 ms": p50,
        "p99 ms": p99,
        "slowest ms": most,
        "never seen": missed,
    }


def _notes(trial: Trial, rows: list[Row], items: int, seconds: float) -> list[str]:
    worst = max(float(row["p99 ms"]) for row in rows[:-1])
    missed = sum(int(row["never seen"]) for row in rows[:-1])
    reached = worst <= GOAL_MS and missed == 0
    return [
        f"{items:,} items in the bundle; {trial.sent:,} changes in {seconds:.0f} s "
        f"({CHANGES_PER_S:.0f}/s due), while each of two workers is asked {QUERIES_PER_S:.0f} ordinary lists "
        f"per second besides those that watch; {trial.errors:,} calls failed.",
        f"Item changes: the worst p99 is {worst:,.0f} ms. Goal <= {GOAL_MS:,.0f} ms, nothing missed: "
        f"{'reached' if reached else 'missed'}.",
        f"Events: {trial.heard:,} of {len(trial.events):,} were known to the very next answer, of the other "
        f"worker. Goal: all: {'reached' if trial.heard == len(trial.events) else 'missed'}.",
        "Times include the answer that shows the change and the wait until it was asked for. Workers, Redis "
        f"and load share {len(cores())} core{'s' if len(cores()) > 1 else ''}.",
    ]
