"""`cascade`: the whole cascade over HTTP beside its floor, the kernels alone, and an empty request.

World `scale` with real networks (`benchmarks.networks`): 1,000 candidates by five interest queries, 200
ranked, 20 returned. One worker on one core, load on the other, real Redis. Floor, empty service and cascade
take turns.
"""

from __future__ import annotations

import sys
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
CONNECTIONS = 8
ROUNDS = 3
COUNT = 20
OPEN_SHARE = 0.6
_REQUESTS = 100
_BODIES = 20_000
_WARM_S = 3.0


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
    floors, empty, whole, cpu, empty_cpu = [], [], [], [], []
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
                load, spent = _timed(nothing, bodies, seconds, other)
                empty.append(load.rate)
                empty_cpu.append(spent)
                load, spent = _timed(ours, bodies, seconds, other)
                whole.append(load)
                cpu.append(spent)
            rate = OPEN_SHARE * median([load.rate for load in whole])
            tail = open_loop(ours.port, "/v1/recommend", bodies, rate, 2 * seconds)
            lost = degraded(ours) - without
            resident = memory(ours.pid).rss / 1e6
    parts = np.median(np.concatenate(floors), axis=0)
    floor, nothing_ms = float(np.concatenate(floors).sum(axis=1).mean()), median(empty_cpu)
    row: Row = {
        "items": items,
        "requests/s": median([load.rate for load in whole]),
        "CPU ms": median(cpu),
        "floor ms": floor,
        "empty ms": nothing_ms,
        "over both": median(cpu) / (floor + nothing_ms),
        "p50 ms": median([load.p50_ms for load in whole]),
        "at 60%: p50 ms": tail.p50_ms,
        "at 60%: p99 ms": tail.p99_ms,
        "RSS MB": round(resident),
        "errors": sum(load.errors for load in whole) + tail.errors,
        "degraded": lost,
    }
    kernels = ", ".join(f"{name} {ms:.2f}" for name, ms in zip(KERNELS, parts.tolist(), strict=True))
    return Report("cascade", command, [row], _notes(row, kernels, seconds))


def _timed(server: Server, bodies: Path, seconds: float, core: int) -> tuple[Load, float]:
    """A load, and the CPU ms that each of its requests cost the server."""
    before = cpu_seconds(server.pid)
    load = closed_loop(server.url, "/v1/recommend", bodies, CONNECTIONS, seconds, core)
    return load, (cpu_seconds(server.pid) - before) * 1000 / max(load.requests, 1)


def _notes(row: Row, kernels: str, seconds: float) -> list[str]:
    tail = float(row["at 60%: p99 ms"]) / float(row["at 60%: p50 ms"])
    over, rate = float(row["over both"]), float(row["requests/s"])
    return [
        f"Closed loop of {CONNECTIONS} connections, {ROUNDS} laps of {seconds:g} s; medians. Floor: the "
        f"kernels' CPU ms on {_REQUESTS} recorded requests, medians {kernels}.",
        f"CPU over floor and empty request {over:.2f}, goal <= {RATIO:g}: {_verdict(over <= RATIO)}.",
        f"{rate:.0f} requests/s on a core, goal >= {RATE:g}: {_verdict(rate >= RATE)}.",
        f"p99 over p50 at {OPEN_SHARE:.0%} of saturation, open loop, {tail:.1f}, goal <= {TAIL:g}: "
        f"{_verdict(tail <= TAIL)}. One server that took the same time for every call would have "
        f"{ideal_tail(OPEN_SHARE):.1f}, for calls come in bunches (M/D/1).",
    ]


def _verdict(reached: bool) -> str:
    return "reached" if reached else "missed"
