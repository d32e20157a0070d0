"""`recall-only`: ten items from one vector search without the seen ones, over HTTP, beside `libserving`.

What each side does for a request:

ours   HTTP, validation, admission; one Redis round trip for profile, whole history and preferences; ids to
       rows; the user tower over the newest events; one query in the index, the user's own vector; all
       filters, seen among them; the ten best by that search; ids, answer, cursor, exposure log. The plan has
       depth "retrieve": no pre-ranker and no ranker.
rival  HTTP, validation; `hexists`, `hget` of user, seen list and ready user vector; one query in the same
       index; one `hget` per item. It is `embed_deploy` as shipped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.load import Load, closed_loop, open_loop
from benchmarks.machine import cores, cpu_seconds, memory
from benchmarks.people import write_bodies, write_histories
from benchmarks.report import Report, Row, median
from benchmarks.rival import rival_environment, write_index, write_keys
from benchmarks.scale import Scale
from benchmarks.serving import Redis, Server, degraded, our_worker, redis_server, rival_worker

PLANS: dict[str, dict[str, Any]] = {
    "ours, recall only": {
        "depth": "retrieve",
        "candidates": 10,
        "ranked": 10,
        "quotas": {"interests": 1.0},
        "interests": 0,
        "own_share": 1.0,
        "neighbours": 0,
    },
    "ours, whole cascade": {},
}
"""The second asks five interest queries, takes 1,000 candidates and ranks 200 of them."""
RIVAL = "libserving"
CONNECTIONS = (1, 8, 32)
ROUNDS = 3
GOAL = 4.0
OPEN_SHARE = 0.6
"""Of what the slower of the two can do at most."""
_BODIES = 20_000
_WARM_S = 2.0


@dataclass(frozen=True)
class Side:
    """One of those who race."""

    name: str
    server: Server
    path: str
    bodies: Path

    def degraded(self) -> int:
        """Answers so far that went without something; the rival knows no such thing."""
        return 0 if self.name == RIVAL else degraded(self.server)


@dataclass(frozen=True)
class Lap:
    """One load on one side, with what it cost."""

    load: Load
    worker_s: float
    redis_s: float
    round_trips: int
    degraded: int


def recall_only(root: Path, items: int, command: str, seconds: float) -> Report:
    """Race; the sides take turns at each number of connections, `ROUNDS` times."""
    here = cores()
    server_core, other = here[0], here[-1]
    scale = Scale(root, items)
    environment = rival_environment(root)
    write_index(scale, environment)
    logs = root / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    ours, theirs = write_bodies(scale.world, _BODIES, logs)
    with redis_server(other) as store:
        counts = Redis(store.port)
        print("writing 50,000 users for both sides", file=sys.stderr, flush=True)
        write_histories(scale.world, counts.client)
        write_keys(scale, counts.client)
        rows: list[Row] = []
        with (
            our_worker(
                scale.bundle, store.port, server_core, logs / "recall.log", PLANS["ours, recall only"]
            ) as a,
            our_worker(
                scale.bundle, store.port, server_core, logs / "whole.log", PLANS["ours, whole cascade"]
            ) as b,
            rival_worker(environment, store.port, server_core, logs / "rival.log") as c,
        ):
            sides = [
                Side("ours, recall only", a, "/v1/recommend", ours),
                Side(RIVAL, c, "/embed/recommend", theirs),
                Side("ours, whole cascade", b, "/v1/recommend", ours),
            ]
            for side in sides:
                closed_loop(side.server.url, side.path, side.bodies, 4, _WARM_S, other)
            for connections in CONNECTIONS:
                laps = _laps(sides, connections, seconds, other, store, counts)
                rows += [_row(side, f"closed, {connections}", laps[side.name]) for side in sides]
            slower = min(float(row["requests/s"]) for row in rows[-len(sides) : -1])
            rate = OPEN_SHARE * slower
            for side in sides:
                without = side.degraded()
                load = open_loop(side.server.port, side.path, side.bodies, rate, seconds)
                rows.append(_open_row(side, rate, load, side.degraded() - without))
            idle = _idle(a, seconds, other)
    return Report("recall-only", command, rows, [*_notes(rows), idle])


def _idle(server: Server, seconds: float, core: int) -> str:
    """What the HTTP stack alone can do: an upper bound of whatever is built on it."""
    before = cpu_seconds(server.pid)
    load = closed_loop(server.url, "/healthz", None, 8, seconds, core)
    cpu_ms = (cpu_seconds(server.pid) - before) * 1000 / load.requests
    return (
        f"`/healthz` of our worker, which does nothing, at 8 connections: {load.rate:,.0f} requests/s, "
        f"{cpu_ms:.2f} ms of CPU each."
    )


def _laps(
    sides: Sequence[Side], connections: int, seconds: float, core: int, store: Server, counts: Redis
) -> dict[str, list[Lap]]:
    laps: dict[str, list[Lap]] = {side.name: [] for side in sides}
    for _ in range(ROUNDS):
        for side in sides:
            without = side.degraded()
            worker, keeper, trips = cpu_seconds(side.server.pid), cpu_seconds(store.pid), counts.round_trips()
            load = closed_loop(side.server.url, side.path, side.bodies, connections, seconds, core)
            laps[side.name].append(
                Lap(
                    load,
                    cpu_seconds(side.server.pid) - worker,
                    cpu_seconds(store.pid) - keeper,
                    counts.round_trips() - trips,
                    side.degraded() - without,
                )
            )
    return laps


def _row(side: Side, loop: str, laps: Sequence[Lap]) -> Row:
    requests = sum(lap.load.requests for lap in laps)
    return {
        "loop, connections": loop,
        "side": side.name,
        "requests/s": median([lap.load.rate for lap in laps]),
        "p50 ms": median([lap.load.p50_ms for lap in laps]),
        "p95 ms": median([lap.load.p95_ms for lap in laps]),
        "p99 ms": median([lap.load.p99_ms for lap in laps]),
        "errors": sum(lap.load.errors for lap in laps),
        "degraded": sum(lap.degraded for lap in laps),
        "CPU s / 1,000": sum(lap.worker_s for lap in laps) * 1000 / requests,
        "Redis CPU s / 1,000": sum(lap.redis_s for lap in laps) * 1000 / requests,
        "Redis round trips": sum(lap.round_trips for lap in laps) / requests,
        "RSS MB": round(memory(side.server.pid).rss / 1e6),
    }


def _open_row(side: Side, rate: float, load: Load, without: int) -> Row:
    empty = ("CPU s / 1,000", "Redis CPU s / 1,000", "Redis round trips", "RSS MB")
    return {
        "loop, connections": f"open, {rate:.0f}/s due",
        "side": side.name,
        "requests/s": load.rate,
        "p50 ms": load.p50_ms,
        "p95 ms": load.p95_ms,
        "p99 ms": load.p99_ms,
        "errors": load.errors,
        "degraded": without,
        **dict.fromkeys(empty),
    }


def _notes(rows: Sequence[Row]) -> list[str]:
    rates = {(row["loop, connections"], row["side"]): float(row["requests/s"]) for row in rows}
    ratios = {
        connections: rates[f"closed, {connections}", "ours, recall only"]
        / rates[f"closed, {connections}", RIVAL]
        for connections in CONNECTIONS
    }
    cpu = {
        row["side"]: row["CPU s / 1,000"]
        for row in rows
        if row["loop, connections"] == f"closed, {CONNECTIONS[-1]}"
    }
    best = max(ratios.values())
    said = ", ".join(f"{ratio:.2f} at {connections}" for connections, ratio in ratios.items())
    return [
        f"Requests/s of ours, recall only, over {RIVAL}'s, by connections: {said}. Goal >= {GOAL:g}: "
        f"{'reached' if best >= GOAL else 'missed'}.",
        f"CPU of the worker per request at {CONNECTIONS[-1]} connections: {RIVAL}'s is "
        f"{cpu[RIVAL] / cpu['ours, recall only']:.2f} times ours.",
        f"Medians of {ROUNDS} rounds; workers on one core, wrk and Redis on the other, sides in turns.",
    ]
