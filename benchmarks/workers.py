"""`workers`: how much more two workers on two cores answer than one on one.

World `scale`, the whole cascade over HTTP: 20 items of a bundle with real networks. Both services are up, and
one after the other is loaded by a closed loop. Load and Redis have no core of their own on a machine of two,
so the second worker has what they leave of its core; their part is told beside.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from benchmarks import machine
from benchmarks.load import Load, closed_loop
from benchmarks.networks import networked
from benchmarks.people import write_bodies, write_histories
from benchmarks.report import Report, Row, median
from benchmarks.scale import Scale
from benchmarks.serving import Redis, Server, all_ready, our_worker, redis_server

GOAL = 1.8
"""Requests/s of two workers over those of one."""
WORKERS = (1, 2)
CONNECTIONS = 64
"""So many that each of two workers finds full cohorts waiting, as one does."""
ROUNDS = 5
BODIES = 20_000
COUNT = 20
_WARM_S = 5.0
_PATH = "/v1/recommend"


def workers(root: Path, items: int, command: str, seconds: float) -> Report:
    """Load the services in turns, `ROUNDS` times.

    Raises:
        RuntimeError: there is only one core, or workers do not get ready.
    """
    here = machine.cores()
    if len(here) < max(WORKERS):
        raise RuntimeError(f"{max(WORKERS)} cores are needed, here is {len(here)}")
    scale = Scale(root, items)
    folder = networked(scale)
    logs = root / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    bodies = write_bodies(scale.world, BODIES, logs, count_of_items=COUNT)[0]
    loads: dict[int, list[Load]] = {count: [] for count in WORKERS}
    spent: dict[int, list[float]] = {count: [] for count in WORKERS}
    with ExitStack() as stack:
        store = stack.enter_context(redis_server(here[-1]))
        write_histories(scale.world, Redis(store.port).client)
        services: dict[int, Server] = {}
        for count in WORKERS:
            log, settings = logs / f"workers-{count}.log", {"CASCADA_WORKERS": str(count)}
            one = our_worker(folder, store.port, here[:count], log, {}, settings)
            services[count] = stack.enter_context(one)
            all_ready(services[count], count)
            closed_loop(services[count].url, _PATH, bodies, CONNECTIONS, _WARM_S, here[-1])
        for _ in range(ROUNDS):
            for count, service in services.items():
                before = _cpu_seconds(service)
                load = closed_loop(service.url, _PATH, bodies, CONNECTIONS, seconds, here[-1])
                loads[count].append(load)
                spent[count].append((_cpu_seconds(service) - before) * 1000 / max(load.requests, 1))
    rows = [_row(count, loads[count], spent[count]) for count in WORKERS]
    return Report("workers", command, rows, _notes(rows, items, seconds, loads))


def _cpu_seconds(service: Server) -> float:
    return sum(machine.cpu_seconds(pid) for pid in machine.family(service.pid))


def _row(count: int, loads: list[Load], spent: list[float]) -> Row:
    return {
        "workers": count,
        "requests/s": median([load.rate for load in loads]),
        "CPU ms": median(spent),
        "p50 ms": median([load.p50_ms for load in loads]),
        "p99 ms": median([load.p99_ms for load in loads]),
        "errors": sum(load.errors for load in loads),
    }


def _notes(rows: list[Row], items: int, seconds: float, loads: dict[int, list[Load]]) -> list[str]:
    one, more = (float(row["requests/s"]) for row in rows)
    cpu = [float(row["CPU ms"]) for row in rows]
    pairs = sorted(b.rate / a.rate for a, b in zip(*loads.values(), strict=True))
    cores = WORKERS[-1]
    idle = 1 - more * cpu[-1] / 1000 / cores
    verdict = "reached" if more / one >= GOAL else "missed"
    return [
        f"{items:,} items, the whole cascade; closed loop of {CONNECTIONS} connections, {ROUNDS} laps of "
        f"{seconds:g} s in turns, medians.",
        f"{cores} workers answer {more / one:.2f} times as much as one ({pairs[0]:.2f} to {pairs[-1]:.2f} by "
        f"lap), goal >= {GOAL:g}: {verdict}.",
        f"Of the {cores} cores {idle:.0%} went to load, Redis and idleness; by CPU per request it would be "
        f"{cores * cpu[0] / cpu[-1]:.2f} times if these had cores of their own.",
    ]
