"""`overload`: what comes back when up to ten times as much is asked as one worker can do."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import numpy as np
import orjson

from benchmarks import machine
from benchmarks.load import closed_loop
from benchmarks.open_load import Replies, Reply, open_load, post, two_loads
from benchmarks.people import write_bodies, write_histories
from benchmarks.report import Report, Row
from benchmarks.scale import Scale
from benchmarks.serving import Redis, Server, our_worker, redis_server

LOADS = (0.6, 1.0, 2.0, 10.0)
"""Of what the worker can do at full width."""
BODIES = 400
PATH = "/v1/recommend"
PLAN = {"explore": 0.0}
"""No draws, so that two answers of the same user differ by their widths alone."""
SETTINGS = {"CASCADA_LATENCY_TARGET_MS": "", "CASCADA_DEADLINE_MS": "1000"}
DEADLINE_MS = 1000.0
GOODPUT, TAIL, REFUSAL_MS = 0.9, 2.0, 10.0
BAD_PER_S = 10.0


def overload(root: Path, items: int, command: str, seconds: float) -> Report:
    """One worker on one core; Redis and an open loop on the other."""
    here = machine.cores()
    scale = Scale(root, items)
    logs = root / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    bodies = write_bodies(scale.world, BODIES, logs, count_of_items=20)[0]
    calls = [post(PATH, line) for line in bodies.read_bytes().splitlines()]
    os.sched_setaffinity(0, {here[-1]})
    with redis_server(here[-1]) as store:
        write_histories(scale.world, Redis(store.port).client)
        log = logs / "overload.log"
        with our_worker(scale.bundle, store.port, here[0], log, PLAN, SETTINGS) as worker:
            full = _full_answers(worker, bodies)
            most = closed_loop(worker.url, PATH, bodies, 2, max(seconds / 3, 2.0), here[-1]).rate
            rows = []
            for times in LOADS:
                before = machine.cpu_seconds(worker.pid)
                replies = open_load(worker.port, calls, times * most, seconds)
                cpu_s = machine.cpu_seconds(worker.pid) - before
                rows.append(_row(times, most, replies, full, worker, cpu_s))
                if times != LOADS[-1]:
                    time.sleep(2.0)
            after = open_load(worker.port, calls, LOADS[0] * most, max(seconds / 2, 3.0))
            neighbours = _neighbours(worker, calls, 0.3 * most, seconds)
    return Report("overload", command, rows, _notes(rows, recovery(after, rows[0]), neighbours, most))


def _full_answers(worker: Server, bodies: Path) -> list[set[str]]:
    """The items of each body's answer while nothing else is asked."""
    with httpx.Client(base_url=worker.url, timeout=30) as client:
        headers = {"content-type": "application/json"}
        answers = [client.post(PATH, content=line, headers=headers).content for line in _lines(bodies)]
    return [_items(answer) for answer in answers]


def _lines(bodies: Path) -> list[bytes]:
    return bodies.read_bytes().splitlines()


def _items(body: bytes) -> set[str]:
    return {item["item_id"] for item in orjson.loads(body)["items"]}


def _row(
    times: float, most: float, replies: Replies, full: Sequence[set[str]], worker: Server, cpu_s: float
) -> Row:
    served = [reply for reply in replies.of(200) if reply.took * 1000.0 <= DEADLINE_MS]
    answers = [orjson.loads(reply.body) for reply in served]
    narrowed = [any(part.startswith("width:") for part in answer["degraded"]) for answer in answers]
    other = [any(not part.startswith("width:") for part in answer["degraded"]) for answer in answers]
    return {
        "load": f"{times:g} x",
        "asked/s": round(times * most),
        "answered/s": round(len(served) / replies.seconds, 1),
        "p50 ms": _percentile(replies.took_ms(200), 50),
        "p99 ms": _percentile(replies.took_ms(200), 99),
        "refused/s": round(len(replies.of(503)) / replies.seconds, 1),
        "refusal p99 ms": _percentile(replies.took_ms(503), 99),
        "other or lost": len(replies.every) - len(replies.of(200, 503)),
        "narrowed": round(float(np.mean(narrowed)), 3),
        "degraded besides": round(float(np.mean(other)), 3),
        "CPU share": round(cpu_s / replies.seconds, 2),
        "CPU ms per answer": round(1000.0 * cpu_s / max(1, len(served)), 2),
        "overlap@20": round(float(np.mean([_overlap(reply, full) for reply in served])), 3),
        "RSS MB": round(machine.memory(worker.pid).rss / 1e6),
    }


def _overlap(reply: Reply, full: Sequence[set[str]]) -> float:
    wanted = full[reply.number % len(full)]
    return len(wanted & _items(reply.body)) / max(1, len(wanted))


def _percentile(took_ms: np.ndarray[tuple[int], np.dtype[np.float64]], which: float) -> float | None:
    return round(float(np.percentile(took_ms, which)), 1) if len(took_ms) else None


def recovery(after: Replies, unloaded: Mapping[str, object]) -> float:
    """Seconds after the overload until no more is refused or late than at the same load before it, or 1%."""
    limit = TAIL * float(str(unloaded["p99 ms"]))
    start = after.every[0].due
    bad = [reply.due - start for reply in after.every if reply.status != 200 or reply.took * 1000.0 > limit]
    usual = float(str(unloaded["refused/s"])) / float(str(unloaded["asked/s"]))
    allowed = int(max(0.01, usual) * len(after.every))
    return sorted(bad, reverse=True)[allowed] if len(bad) > allowed else 0.0


def _neighbours(
    worker: Server, calls: Sequence[bytes], rate: float, seconds: float
) -> tuple[float | None, float | None]:
    """p99 of good calls alone, and beside a stream of bad and huge ones."""
    deep = b'{"filter":' + b'{"not":' * 5000 + b"{}" + b"}" * 5000 + b"}"
    bad = [
        post(PATH, b'{"exclude_items":[' + b",".join(b'"i%d"' % n for n in range(80_000)) + b"]}"),
        post(PATH, b'{"session":[' + b",".join(b'{"item_id":1}' for _ in range(60_000)) + b"]}"),
        post(PATH, deep),
        post(PATH, b'{"user_id":"' + b"x" * 900_000 + b'"}'),
        post(PATH, b"{" * 900_000),
        post(PATH, b"\xff" * 100_000),
        post("/v1/events", b'{"events":[' + b",".join(b"{}" for _ in range(100_000)) + b"]}"),
    ]
    (alone,) = two_loads(worker.port, [(calls, rate)], seconds)
    beside, _ = two_loads(worker.port, [(calls, rate), (bad, BAD_PER_S)], seconds)
    return _percentile(alone.took_ms(200), 99), _percentile(beside.took_ms(200), 99)


def _notes(
    rows: Sequence[Row], recovery_s: float, neighbours: tuple[float | None, float | None], most: float
) -> list[str]:
    best = max(row["answered/s"] for row in rows)
    notes = [
        f"One worker answers {most:,.0f}/s at full width (closed loop, 2 connections). Calls arrive as a "
        "Poisson process; latencies count from when a call was due.",
        "Answered means 200 within a second. Overlap is with the answer of the same user without load.",
    ]
    for row in rows[2:]:
        goodput, tail = row["answered/s"] / best, row["p99 ms"] / rows[0]["p99 ms"]
        refusal = row["refusal p99 ms"] or 0.0
        notes.append(
            f"At {row['load']}: {goodput:.0%} of the best goodput "
            f"(goal {GOODPUT:.0%}: {_verdict(goodput >= GOODPUT)}), "
            f"p99 {tail:.2f} times that at {rows[0]['load']} (goal {TAIL:g}: {_verdict(tail <= TAIL)}), "
            f"refusals within {refusal:.1f} ms (goal {REFUSAL_MS:g}: {_verdict(refusal <= REFUSAL_MS)})."
        )
    cheap, dear = rows[0]["CPU ms per answer"], rows[-1]["CPU ms per answer"]
    notes.append(
        f"Refusals included, an answer takes {dear / cheap:.2f} times the CPU at {rows[-1]['load']} that it "
        f"takes at {rows[0]['load']}. Where the CPU share at full load is far below 1, other work had the "
        "core, and only CPU times compare."
    )
    notes.append(f"After {rows[-1]['load']} it is as before within {recovery_s:.2f} s.")
    alone, beside = neighbours
    notes.append(
        f"p99 of good calls at 0.3 x: {alone} ms alone, {beside} ms beside {BAD_PER_S:g} bad or huge calls/s."
    )
    return notes


def _verdict(reached: bool) -> str:
    return "reached" if reached else "missed"
