"""`cascade`: the whole cascade over HTTP beside its floor, the kernels alone, and an empty request.

World `scale` with real networks (`benchmarks.networks`): 1,000 candidates by five interest queries, 200
ranked, 20 returned. One worker on one core, load on the other, real Redis. Floor, empty service and cascade
take turns.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.floor import KERNELS, lap, opened, record
from benchmarks.load import Load, closed_loop, open_loop
from benchmarks.machine import cores, cpu_seconds, memory
from benchmarks.networks import networked
from benchmarks.people import write_bodies, write_histories
from benchmarks.queueing import ideal_tail
from benchmarks.report import Report, Row, median
from benchmarks.scale import Scale
from benchmarks.serving import Redis, Server, degraded, empty_worker, our_worker, redis_server

RATIO, RATE, TAIL = 1.25, 400.0, 3.0
"""Goals: CPU over floor and empty request; requests/s of a core; p99 over p50 at 60% of saturation."""
CONNECTIONS = (1, 8, 32)
"""Calls at a time: one alone, those of one front end, and enough that the worker never waits for one."""
ROUNDS = 3
COUNT = 20
OPEN_SHARE = 0.6
_REQUESTS = 100
_BODIES = 20_000
_WARM_S = 3.0


@dataclass
class _Seen:
    """What one number of connections came to, lap by lap."""

    loads: list[Load] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return median([load.rate for load in self.loads])


def cascade(root: Path, items: int, command: str, seconds: float) -> Report:
    """Measure in turns, `ROUNDS` times."""
    here = cores()
    server_core, other = here[0], here[-1]
    scale = Scale(root, items)
    folder = networked(scale)
    logs = root / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    bodies, _ = write_bodies(scale.world, _BODIES, logs, count_of_items=COUNT)
    bundle = opened(folder)
    users = np.linspace(0, scale.world.users - 1, _REQUESTS).astype(int).tolist()
    recorded = record(bundle, scale.world, users)
    floors, empty_ms = [], []
    seen = {connections: _Seen() for connections in CONNECTIONS}
    with redis_server(other) as store:
        print("writing 50,000 users", file=sys.stderr, flush=True)
        write_histories(scale.world, Redis(store.port).client)
        with (
            our_worker(folder, store.port, server_core, logs / "cascade.log", {}) as ours,
            empty_worker(server_core, logs / "empty.log") as nothing,
        ):
            for server in (ours, nothing):
                closed_loop(server.url, "/v1/recommend", bodies, 4, _WARM_S, other)
            lap(bundle, recorded, store.port)
            without = degraded(ours)
            for _ in range(ROUNDS):
                floors.append(lap(bundle, recorded, store.port))
                empty_ms.append(_timed(nothing, bodies, CONNECTIONS[1], seconds, other)[1])
                for connections, one in seen.items():
                    load, spent = _timed(ours, bodies, connections, seconds, other)
                    one.loads.append(load)
                    one.cpu_ms.append(spent)
            best = max(one.rate for one in seen.values())
            tail = open_loop(ours.port, "/v1/recommend", bodies, OPEN_SHARE * best, 4 * seconds)
            lost = degraded(ours) - without
            resident = memory(ours.pid).rss / 1e6
    parts = np.median(np.concatenate(floors), axis=0)
    floor = float(np.concatenate(floors).sum(axis=1).mean()) + median(empty_ms)
    rows = [_row(items, connections, one, floor) for connections, one in seen.items()]
    rows.append(_open_row(items, tail, lost))
    kernels = ", ".join(f"{name} {ms:.2f}" for name, ms in zip(KERNELS, parts.tolist(), strict=True))
    notes = _notes(rows, tail, f"{kernels}, empty request {median(empty_ms):.2f}", seconds, resident)
    return Report("cascade", command, rows, notes)


def _row(items: int, connections: int, one: _Seen, floor_ms: float) -> Row:
    cpu = median(one.cpu_ms)
    return {
        "items": items,
        "load": f"closed, {connections}",
        "requests/s": one.rate,
        "CPU ms": cpu,
        "floor and empty ms": floor_ms,
        "over both": cpu / floor_ms,
        "p50 ms": median([load.p50_ms for load in one.loads]),
        "p99 ms": median([load.p99_ms for load in one.loads]),
        "errors": sum(load.errors for load in one.loads),
        "degraded": "",
    }


def _open_row(items: int, tail: Load, lost: int) -> Row:
    return {
        "items": items,
        "load": f"open, {OPEN_SHARE:.0%} of the best",
        "requests/s": tail.rate,
        "CPU ms": "",
        "floor and empty ms": "",
        "over both": "",
        "p50 ms": tail.p50_ms,
        "p99 ms": tail.p99_ms,
        "errors": tail.errors,
        "degraded": lost,
    }


def _timed(server: Server, bodies: Path, connections: int, seconds: float, core: int) -> tuple[Load, float]:
    """A load, and the CPU ms that each of its requests cost the server."""
    before = cpu_seconds(server.pid)
    load = closed_loop(server.url, "/v1/recommend", bodies, connections, seconds, core)
    return load, (cpu_seconds(server.pid) - before) * 1000 / max(load.requests, 1)


def _notes(rows: Sequence[Row], tail: Load, kernels: str, seconds: float, resident_mb: float) -> list[str]:
    busiest = rows[len(CONNECTIONS) - 1]
    over, rate = float(busiest["over both"]), float(busiest["requests/s"])
    tails = tail.p99_ms / tail.p50_ms
    return [
        f"Closed loops of {', '.join(map(str, CONNECTIONS))} connections in turns, {ROUNDS} laps of "
        f"{seconds:g} s; medians. The more calls wait, the more are computed together. "
        f"RSS {resident_mb:,.0f} MB.",
        f"Floor: the kernels' CPU ms on {_REQUESTS} recorded requests, medians {kernels}.",
        f"CPU over floor and empty request {over:.2f}, goal <= {RATIO:g}: {_verdict(over <= RATIO)}.",
        f"{rate:.0f} requests/s on a core, goal >= {RATE:g}: {_verdict(rate >= RATE)}.",
        f"p99 over p50 at {OPEN_SHARE:.0%} of the best rate, open loop of {4 * seconds:g} s, {tails:.1f}, "
        f"goal <= {TAIL:g}: {_verdict(tails <= TAIL)}. One server that took the same time for every call "
        f"would have {ideal_tail(OPEN_SHARE):.1f}, for calls come in bunches (M/D/1).",
    ]


def _verdict(reached: bool) -> str:
    return "reached" if reached else "missed"
