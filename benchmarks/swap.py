"""`swap`: what calls notice of it when another bundle is activated, and when it is rolled back.

A service of two workers is on one core, Redis and an open loop on the other. The same load comes twice: while
nothing happens, and while two versions of one bundle are activated and rolled back in turns, each as soon as
all workers follow the one before and a pause has passed. A call belongs to a swap if it was due between the
operator's call and the moment at which the last worker served the new version.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from benchmarks import machine
from benchmarks.load import closed_loop
from benchmarks.open_load import Replies, Reply, open_load, post
from benchmarks.people import write_bodies, write_histories
from benchmarks.report import Report, Row
from benchmarks.scale import Scale
from benchmarks.serving import Redis, Server, all_ready, our_worker, redis_server
from benchmarks.soak import twins

SHARE = 0.4
"""Of the calls per second that the service manages."""
TAIL = 2.0
WORKERS = 2
BODIES = 400
PATH = "/v1/recommend"
TOKEN = "the operator of this load"
PAUSE_S = 1.0
PATIENCE_S = 120.0


@dataclass
class Swaps:
    """Every swap: its start and end on `time.monotonic()`, and how long the operator's call took."""

    spans: list[tuple[float, float]] = field(default_factory=list)
    answered_s: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def has(self, moment: float) -> bool:
        """Whether it was during a swap."""
        return any(start <= moment <= end for start, end in self.spans)


def swap(root: Path, items: int, command: str, seconds: float) -> Report:
    """Calls at a steady rate for `seconds` in peace, then four times as long among swaps."""
    here = machine.cores()
    scale = Scale(root, items)
    logs, folder = root / "logs", root / "swapping"
    logs.mkdir(parents=True, exist_ok=True)
    bodies = write_bodies(scale.world, BODIES, logs, count_of_items=20)[0]
    calls = [post(PATH, line) for line in bodies.read_bytes().splitlines()]
    os.sched_setaffinity(0, {here[-1]})
    try:
        bundles = twins(scale.bundle, folder)
        with redis_server(here[-1]) as store:
            write_histories(scale.world, Redis(store.port).client)
            settings = {
                "CASCADA_BUNDLE": "",
                "CASCADA_BUNDLES": str(folder.absolute()),
                "CASCADA_OPERATOR_TOKEN": TOKEN,
                "CASCADA_WORKERS": str(WORKERS),
            }
            log = logs / "swap.log"
            with our_worker(bundles[-1], store.port, here[0], log, {}, settings) as service:
                all_ready(service, WORKERS)
                most = closed_loop(service.url, PATH, bodies, 4, max(seconds / 2, 2.0), here[-1]).rate
                rate = SHARE * most
                calm = open_load(service.port, calls, rate, seconds)
                swaps, busy = _among_swaps(service, calls, rate, 4 * seconds, [one.name for one in bundles])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.sched_setaffinity(0, set(here))
    rows = [
        _row("in peace", calm.every),
        _row("during swaps", [reply for reply in busy.every if swaps.has(reply.due)]),
        _row("between swaps", [reply for reply in busy.every if not swaps.has(reply.due)]),
    ]
    return Report("swap", command, rows, _notes(rows, swaps, items, rate, most))


def _among_swaps(
    service: Server, calls: Sequence[bytes], rate: float, seconds: float, versions: Sequence[str]
) -> tuple[Swaps, Replies]:
    swaps, end = Swaps(), time.monotonic() + seconds
    operator = threading.Thread(target=_operate, args=(service, swaps, versions, end))
    operator.start()
    replies = open_load(service.port, calls, rate, seconds)
    operator.join()
    return swaps, replies


def _operate(service: Server, swaps: Swaps, versions: Sequence[str], end: float) -> None:
    """Activate the older version, then roll back and forth, until there is no time for another swap."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=service.url, timeout=PATIENCE_S, headers=headers) as client:
        time.sleep(PAUSE_S)
        while time.monotonic() + PAUSE_S + max((b - a for a, b in swaps.spans), default=0.0) < end:
            first = not swaps.spans
            path = f"/v1/bundles/{versions[0]}/activate" if first else "/v1/bundles/rollback"
            start = time.monotonic()
            answer = client.post(path)
            swaps.answered_s.append(time.monotonic() - start)
            if not answer.is_success:
                swaps.failed.append(f"{answer.status_code} {answer.text[:200]}")
                return
            _followed(client, answer.json()["version"])
            swaps.spans.append((start, time.monotonic()))
            time.sleep(PAUSE_S)


def _followed(client: httpx.Client, version: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for one in client.get("/v1/bundles").json()["bundles"]:
            if one["version"] == version and one["workers"] == WORKERS:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the workers did not all serve {version} within {PATIENCE_S:.0f} s")


def _row(what: str, replies: Sequence[Reply]) -> Row:
    good = np.array([reply.took for reply in replies if reply.status == 200]) * 1000.0
    p50, p99, worst = np.percentile(good, [50, 99, 100]).tolist() if len(good) else (None, None, None)
    return {
        "calls": what,
        "number": len(replies),
        "failed": len(replies) - len(good),
        "p50 ms": p50,
        "p99 ms": p99,
        "slowest ms": worst,
    }


def _notes(rows: Sequence[Row], swaps: Swaps, items: int, rate: float, most: float) -> list[str]:
    if not swaps.spans:
        raise RuntimeError(f"no swap took place: {'; '.join(swaps.failed) or 'too little time'}")
    failed = sum(int(row["failed"]) for row in rows) + len(swaps.failed)
    calm, during = rows[0]["p99 ms"], rows[1]["p99 ms"]
    times = during / calm if calm and during else float("nan")
    took = [end - start for start, end in swaps.spans]
    return [
        f"{items:,} items, {WORKERS} workers on one core, Redis and load on the other; {rate:.0f} calls/s, "
        f"{SHARE:.0%} of the {most:.0f}/s of a closed loop of 4 connections. Calls arrive as a Poisson "
        "process; latencies count from when a call was due.",
        f"{len(took)} swaps, activations and rollbacks: the operator's call took "
        f"{np.median(swaps.answered_s):.2f} s (median; slowest {max(swaps.answered_s):.2f} s), all workers "
        f"followed after {np.median(took):.2f} s (slowest {max(took):.2f} s).",
        f"Failed calls: {failed}. Goal 0: {_verdict(failed == 0)}.",
        f"p99 during swaps is {times:.2f} times that in peace. Goal <= {TAIL:g}: {_verdict(times <= TAIL)}.",
    ]


def _verdict(reached: bool) -> str:
    return "reached" if reached else "missed"
