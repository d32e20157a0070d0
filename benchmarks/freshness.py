"""`freshness`: how long an item change, or an event, takes until answers know it, while others ask.

Two workers share one Redis. Items are made, hidden and deleted through the first one at a steady rate, each
sent when it is due, whatever became of the others. Some are traced: from the moment at which one is sent both
workers are asked for just that item on every path, again and again, until an answer shows it; then it is
hidden or deleted, and they are asked until no answer does. So the times include the answer that says so: they
are upper bounds. All the while other users ask for ordinary lists.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
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
TRACED = 25
"""One in so many changes."""
GOAL_MS = 1000.0
USERS = 2000
"""Of the world; enough that no answer is like another."""
PRICE = 1_000_000.0
"""Of what is made here; a traced item has one of its own, by which a filter finds it."""
PAUSE_S = 0.05
_PATIENCE_S = 10.0
_PATHS: dict[str, dict[str, Any]] = {
    "/v1/recommend": {},
    "/v1/search": {"query": "freshness"},
    "/v1/similar": {"item_id": item_id(0)},
}


class Trial:
    """Changes items through the first of two workers, and asks both."""

    def __init__(self, workers: list[Server]) -> None:
        self._workers = workers
        self.took: dict[tuple[str, str, int], list[float]] = defaultdict(list)
        """Seconds by "new" or "gone", path and worker."""
        self.missed: Counter[tuple[str, str, int]] = Counter()
        self.errors = 0
        self.sent = 0
        self.events: list[float] = []
        self.heard = 0

    async def run(self, seconds: float, bodies: Path) -> None:
        """Change and ask for so long, and wait until every traced change was seen or given up."""
        loads = [
            Arrivals(worker.port, "/v1/recommend", bodies).run(QUERIES_PER_S, seconds, seed)
            for seed, worker in enumerate(self._workers)
        ]
        async with AsyncExitStack() as stack:
            self._clients = [
                await stack.enter_async_context(httpx.AsyncClient(base_url=worker.url, timeout=30))
                for worker in self._workers
            ]
            await asyncio.gather(self._change(seconds), self._act(seconds), *loads)

    async def _change(self, seconds: float) -> None:
        calls = set()
        start = time.monotonic()
        for number in range(round(CHANGES_PER_S * seconds)):
            await asyncio.sleep(max(0.0, start + number / CHANGES_PER_S - time.monotonic()))
            work = self._trace(number) if number % TRACED == 0 else self._other(number)
            calls.add(asyncio.create_task(work))
        await asyncio.gather(*calls)

    async def _other(self, number: int) -> None:
        """A change that nobody waits for: an item is made, or one that was made before is taken away."""
        item = f"fresh-{number - 1 if number % 3 == 2 else number}"
        await self._send(item, "deleted" if number % 3 == 2 else "new", PRICE)

    async def _trace(self, number: int) -> None:
        item, price = f"traced-{number}", PRICE + 1 + number
        await asyncio.gather(self._send(item, "new", price), *self._watch(item, price, "new"))
        # These few are beyond the rate.
        kind = "deleted" if number % (2 * TRACED) else "hidden"
        await asyncio.gather(self._send(item, kind, price), *self._watch(item, price, "gone"))

    async def _send(self, item: str, kind: str, price: float) -> None:
        body = {"title": "freshness", "attributes": {"price": price, "department": "department 1"}}
        path, client = f"/v1/items/{item}", self._clients[0]
        self.sent += 1
        if kind == "new":
            answer = await client.put(path, json=body)
        elif kind == "hidden":
            answer = await client.patch(path, json={"available": False})
        else:
            answer = await client.delete(path)
        # Of the items that nobody waits for, one may be taken away before it was made.
        self.errors += not (answer.is_success or answer.status_code == 404)

    def _watch(self, item: str, price: float, kind: str) -> list[Coroutine[Any, Any, None]]:
        started = time.monotonic()
        return [
            self._until(item, price, (kind, path, worker), started) for path in _PATHS for worker in range(2)
        ]

    async def _until(self, item: str, price: float, key: tuple[str, str, int], started: float) -> None:
        kind, path, worker = key
        rule = {"field": "price", "op": "==", "value": price}
        body = {**_PATHS[path], "count": 1, "filter": rule}
        while time.monotonic() < started + _PATIENCE_S:
            answer = await self._clients[worker].post(path, json=body)
            self.errors += not answer.is_success
            if answer.is_success and (item in _items(answer)) == (kind == "new"):
                self.took[key].append(time.monotonic() - started)
                return
            await asyncio.sleep(PAUSE_S)
        self.missed[key] += 1

    async def _act(self, seconds: float) -> None:
        """A user takes an item of a list; the very next answer, of the other worker, must not have it."""
        first, second = self._clients
        for number in range(round(EVENTS_PER_S * seconds)):
            await asyncio.sleep(1.0 / EVENTS_PER_S)
            user = {"user_id": user_id(number % USERS)}
            before = await first.post("/v1/recommend", json=user)
            taken = min(_items(before), default=item_id(number))
            event = {**user, "item_id": taken, "event": KIND}
            started = time.monotonic()
            stored = await first.post("/v1/events", json={"events": [event]})
            after = await second.post("/v1/recommend", json=user)
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
    rows = list(_rows(trial))
    return Report("freshness", command, rows, _notes(trial, rows, items, seconds))


def _rows(trial: Trial) -> Iterator[Row]:
    for kind, name in (("new", "PUT to first shown"), ("gone", "hidden or deleted to gone")):
        for path in _PATHS:
            for worker, whose in enumerate(("took it", "other")):
                key = (kind, path, worker)
                yield _row(name, path, whose, trial.took[key], trial.missed[key])
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
        f"per second besides those that trace; {trial.errors:,} calls failed.",
        f"Item changes: the worst p99 is {worst:,.0f} ms. Goal <= {GOAL_MS:,.0f} ms, nothing missed: "
        f"{'reached' if reached else 'missed'}.",
        f"Events: {trial.heard:,} of {len(trial.events):,} were known to the very next answer, of the other "
        f"worker. Goal: all: {'reached' if trial.heard == len(trial.events) else 'missed'}.",
        "Times include the answer that shows the change and the wait until it was asked for. Workers, Redis "
        f"and load share {len(cores())} core{'s' if len(cores()) > 1 else ''}.",
    ]
