"""`memory`: what one worker and each further one hold of a bundle that they map.

RSS counts shared pages in every process. USS are the pages that a process has alone, and what another worker
costs a machine; PSS divides shared pages by those who share them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx

from benchmarks import machine
from benchmarks.people import write_bodies, write_histories
from benchmarks.report import Report, Row
from benchmarks.scale import Scale
from benchmarks.serving import Redis, Server, our_worker, redis_server

WORKERS = 3
REQUESTS = 2000
"""Answers of each worker before it is measured, for pages are mapped when they are first read."""
GOAL_GB = 1.2
GOAL_SHARE = 0.25


def memory(root: Path, items: int, command: str) -> Report:
    """Start workers one after the other on one bundle; each answers requests, then all are measured."""
    here = machine.cores()
    scale = Scale(root, items)
    logs = root / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    bodies = write_bodies(scale.world, REQUESTS, logs)[0].read_bytes().splitlines()
    rows: list[Row] = []
    with ExitStack() as stack:
        store = stack.enter_context(redis_server(here[-1]))
        write_histories(scale.world, Redis(store.port).client)
        running: list[Server] = []
        for number in range(WORKERS):
            log = logs / f"memory-{number}.log"
            worker = stack.enter_context(our_worker(scale.bundle, store.port, here[0], log, {}))
            running.append(worker)
            _ask(worker, bodies)
            rows.append(_row(items, running))
    return Report("memory", command, rows, _notes(rows, scale))


def _ask(worker: Server, bodies: Sequence[bytes]) -> None:
    with httpx.Client(base_url=worker.url, timeout=30) as client:
        for body in bodies:
            answer = client.post("/v1/recommend", content=body, headers={"content-type": "application/json"})
            answer.raise_for_status()


def _row(items: int, running: Sequence[Server]) -> Row:
    held = [machine.memory(worker.pid) for worker in running]
    newest = held[-1]
    return {
        "items": items,
        "workers": len(running),
        "newest: RSS MB": round(newest.rss / 1e6),
        "PSS MB": round(newest.pss / 1e6),
        "USS MB": round(newest.uss / 1e6),
        "of it anonymous MB": round(newest.anonymous / 1e6),
        "peak RSS MB": round(newest.peak / 1e6),
        "all workers: PSS MB": round(sum(one.pss for one in held) / 1e6),
        "s to ready": running[-1].seconds_to_ready,
    }


def _notes(rows: Sequence[Row], scale: Scale) -> list[str]:
    first, last = rows[0], rows[-1]
    each = (last["all workers: PSS MB"] - first["all workers: PSS MB"]) / (len(rows) - 1)
    share = each / first["newest: RSS MB"]
    disk = sum(path.stat().st_size for path in scale.bundle.rglob("*") if path.is_file())
    rss = first["newest: RSS MB"] / 1000
    return [
        f"The bundle has {disk / 1e6:,.0f} MB on disk, mapped. Each worker answered {REQUESTS:,} requests of "
        "the whole cascade first. Peak is while the bundle is hashed and opened.",
        f"One worker: {rss:.2f} GB. Goal <= {GOAL_GB} GB: {'reached' if rss <= GOAL_GB else 'missed'}.",
        f"Each further worker adds {each:,.0f} MB, {share:.0%} of the first one's RSS. "
        f"Goal <= {GOAL_SHARE:.0%}: {'reached' if share <= GOAL_SHARE else 'missed'}.",
    ]
