"""The run of a soak: a service, its Redis, the mixed load, bundle swaps, and what is seen of all in windows.

`cascada serve` with one worker and a redis-server answer `benchmarks.mix`: lists, searches, similar items,
events, items made, changed, deleted and hidden, and ten swaps between two bundles where the service has
`POST /v1/bundles/{version}/activate`. What the service keeps for a time or up to a number (event ids, traces,
marks of deleted items, logs, histories) is kept for a tenth of the soak, or for few entries, so that each of
these ends is reached many times; whatever grows then grows for ever. A window's figures are taken at its end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import redis

from benchmarks.machine import cores, descriptors, memory
from benchmarks.mix import Cast, Mix
from benchmarks.serving import Server, degraded, our_worker, redis_server
from benchmarks.traffic import Traffic
from benchmarks.wire import Wire

SHARE = 0.6
"""Of the calls per second that the server manages."""
CONNECTIONS = 8
SWAPS = 10
WARM = 0.25
WINDOWS = 60
_LEAST_WINDOW_S = 1.0
_KEPT = 0.1
TOKEN = "the operator of this load"
_ACTIVATE = "/v1/bundles/{version}/activate"


@dataclass
class Soaked:
    """What was seen: `series` by name, one value per window; the first `warm` windows are not judged."""

    rate: float
    saturation: float
    series: dict[str, list[float]] = field(default_factory=lambda: {"minutes": []})
    failed: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    degraded: int = 0
    swaps: list[float] = field(default_factory=list)
    slowest_swap_s: float = 0.0
    swappable: bool = False

    @property
    def warm(self) -> int:
        """The number of windows that warm up."""
        return round(WARM * len(self.series["minutes"]))


def soaked(
    bundles: Sequence[Path],
    people: Cast,
    seconds: float,
    log: Path,
    rate: float | None = None,
    history: int = 100,
    exposures: int = 10,
) -> Soaked:
    """Serve the newest of `bundles`, all in one folder, and swap between them; calls come at `rate`, by
    default `SHARE` of all that it can."""
    here = cores()
    with redis_server(here[-1]) as store:
        folder = str(bundles[0].parent.absolute())
        settings = _settings(seconds, history, exposures)
        settings |= {"CASCADA_BUNDLE": "", "CASCADA_BUNDLES": folder, "CASCADA_OPERATOR_TOKEN": TOKEN}
        with our_worker(bundles[0], store.port, here[0], log, {}, settings) as worker:
            return asyncio.run(
                _soak(worker, store, [one.name for one in bundles], people, seconds, rate, history)
            )


def _settings(seconds: float, history: int, exposures: int) -> dict[str, str]:
    kept_hours = str(max(_KEPT * seconds, 2.0) / 3600)
    return {
        "CASCADA_HISTORY_LIMIT": str(history),
        "CASCADA_EVENT_ID_HOURS": kept_hours,
        "CASCADA_EXPOSURE_LIMIT": str(exposures),
        "CASCADA_DELETED_ITEM_HOURS": kept_hours,
        "CASCADA_ITEM_LOG_LIMIT": "100",
        "CASCADA_EVENT_LOG_LIMIT": "1000",
        "CASCADA_IMPRESSION_LOG_LIMIT": "1000",
        "CASCADA_TRACE_SHARE": "0.05",
        "CASCADA_TRACE_LIMIT": "50",
        "CASCADA_TRACE_HOURS": kept_hours,
    }


async def _soak(
    worker: Server,
    store: Server,
    versions: Sequence[str],
    people: Cast,
    seconds: float,
    rate: float | None,
    history: int,
) -> Soaked:
    wire = Wire(worker.port)
    traffic = Traffic(wire, Mix(people))
    await traffic.fill(history)
    if traffic.failed:
        raise RuntimeError(f"the users' histories were refused: {dict(traffic.failed)}")
    # The first calls map pages and fill memories.
    await traffic.saturate(CONNECTIONS, min(5.0, seconds / 20))
    saturation = await traffic.saturate(CONNECTIONS, min(20.0, seconds / 10))
    found = Soaked(rate=rate or SHARE * saturation, saturation=saturation)
    before, without = len(traffic.answers), degraded(worker)
    watch = asyncio.create_task(_watch(found, traffic, wire, worker, store, seconds))
    swap = asyncio.create_task(_swap(found, worker, versions, seconds))
    await traffic.arrive(found.rate, seconds)
    await asyncio.gather(watch, swap)
    wire.close()
    found.calls = len(traffic.answers) - before
    found.degraded = degraded(worker) - without
    found.failed |= {f"{kind} {status}": count for (kind, status), count in sorted(traffic.failed.items())}
    return found


async def _watch(
    found: Soaked, traffic: Traffic, wire: Wire, worker: Server, store: Server, seconds: float
) -> None:
    loop = asyncio.get_running_loop()
    count = int(min(WINDOWS, seconds / _LEAST_WINDOW_S))
    start, seen = loop.time(), len(traffic.answers)
    with redis.Redis(port=store.port) as client:
        for number in range(1, count + 1):
            await asyncio.sleep(max(0.0, start + number * seconds / count - loop.time()))
            took = [answer.took * 1000 for answer in traffic.answers[seen:]]
            seen = len(traffic.answers)
            p50, p99 = np.percentile(took or [np.nan], [50, 99]).tolist()
            held = memory(worker.pid)
            told = await asyncio.to_thread(client.info)
            row = {
                "minutes": (loop.time() - start) / 60,
                "p50 ms": p50,
                "p99 ms": p99,
                "RSS MB": held.rss / 1e6,
                "of it anonymous MB": held.anonymous / 1e6,
                # Ours are as many as a busy moment needed.
                "descriptors": float(descriptors(worker.pid) - wire.connections),
                "Redis keys": float(told.get("db0", {}).get("keys", 0)),
                "Redis MB": told["used_memory"] / 1e6,
            }
            for name, value in row.items():
                found.series.setdefault(name, []).append(value)


async def _swap(found: Soaked, worker: Server, versions: Sequence[str], seconds: float) -> None:
    """Activate the bundles in turns, where the service can."""
    start = time.monotonic()
    operator = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=worker.url, timeout=120, headers=operator) as client:
        found.swappable = _ACTIVATE in (await client.get("/openapi.json")).json()["paths"]
        for number in range(SWAPS if found.swappable and len(versions) > 1 else 0):
            await asyncio.sleep(max(0.0, start + (number + 0.5) * seconds / SWAPS - time.monotonic()))
            began = time.monotonic()
            version = versions[number % len(versions)]
            answer = await client.post(_ACTIVATE.format(version=version))
            if not answer.is_success:
                name = f"swap {answer.status_code}"
                found.failed[name] = found.failed.get(name, 0) + 1
                continue
            found.swaps.append((began - start) / 60)
            found.slowest_swap_s = max(found.slowest_swap_s, time.monotonic() - began)
