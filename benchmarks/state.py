"""What the state of users, items and logs takes in Redis, byte by byte as Redis itself counts it.

A service on the bundle of a small world gets profiles, events, requests and items over HTTP, users with few
and with many of each; then every key is asked for its size: what a user with few entries takes, and what one
more entry costs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import redis

from benchmarks.machine import cores
from benchmarks.people import KIND
from benchmarks.scale import Scale
from benchmarks.serving import our_worker, redis_server
from benchmarks.world import item_id, user_id

USERS = 40
FEW, MANY = 10, 200
"""Events of the users; they are shown a twentieth as many lists."""
COUNT = 20
"""Items of a list."""
ITEMS = 300
_PATIENCE_S = 60.0
_LENGTHS = {b"list": "llen", b"zset": "zcard", b"hash": "hlen", b"stream": "xlen", b"string": None}


@dataclass(frozen=True, slots=True)
class Taken:
    """Bytes of a key with `few` entries and of each further one; `entry` says what one is."""

    entry: str
    few: float
    bytes_of_few: float
    each: float

    def of(self, entries: float) -> float:
        """Bytes of a key with so many entries; one with fewer than were measured counts as those."""
        return self.bytes_of_few + self.each * max(0.0, entries - self.few)


KINDS = {
    "profile": (re.compile(r"u:\{.*\}:profile$"), "profile of one attribute"),
    "history": (re.compile(r"u:\{.*\}:history$"), "event"),
    "event ids": (re.compile(r"u:\{.*\}:event-ids$"), "event id"),
    "exposures": (re.compile(r"u:\{.*\}:exposures$"), f"list of {COUNT} items that was shown"),
    "traces": (re.compile(r"\{traces\}:answer:"), "answer's trace"),
    "live items": (re.compile(r"\{items\}:(records|order)$"), "changed item"),
    "event log": (re.compile(r"log:events$"), "event"),
    "impression log": (re.compile(r"log:impressions$"), f"answer of {COUNT} items"),
}


def state(root: Path, items: int) -> Mapping[str, Taken]:
    """Bytes by kind of state, measured with the bundle of `items` items."""
    here = cores()
    (root / "logs").mkdir(parents=True, exist_ok=True)
    settings = {"CASCADA_TRACE_SHARE": "1", "CASCADA_TRACE_LIMIT": "10000"}
    bundle = Scale(root, items).bundle
    with (
        redis_server(here[-1]) as store,
        our_worker(bundle, store.port, here[0], root / "logs" / "state.log", {}, settings) as worker,
        httpx.Client(base_url=worker.url, timeout=60) as client,
        redis.Redis(port=store.port) as counter,
    ):
        answers = _live(client, items)
        deadline = time.monotonic() + _PATIENCE_S
        while (found := _keys(counter))["impression log"][0][0] < answers or len(found["traces"]) < answers:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the log has not all of {answers} answers after {_PATIENCE_S:.0f} s")
            time.sleep(0.1)
    return {name: _line(name, found[name]) for name in KINDS}


def _live(client: httpx.Client, items: int) -> int:
    """Give the service something to remember; the number of lists that were answered."""
    answers = 0
    for user in range(USERS):
        events, name = (MANY if user % 2 else FEW), user_id(user)
        client.put(f"/v1/users/{name}", json={"attributes": {"segment": "new"}}).raise_for_status()
        rows = [(user * 7919 + number * 104729) % items for number in range(events)]
        body = [
            {"user_id": name, "item_id": item_id(row), "event": KIND, "event_id": f"{name}-{number:06}"}
            for number, row in enumerate(rows)
        ]
        client.post("/v1/events", json={"events": body}).raise_for_status()
        for _ in range(max(1, events // 20)):
            client.post("/v1/recommend", json={"user_id": name, "count": COUNT}).raise_for_status()
            answers += 1
    for number in range(ITEMS):
        record = {"title": f"word{number} thing{number} {number}", "attributes": {"price": 10.0}}
        client.put(f"/v1/items/late-{number}", json=record).raise_for_status()
    return answers


def _keys(counter: redis.Redis) -> dict[str, list[tuple[int, int]]]:
    """Entries and bytes of every key, by kind."""
    found: dict[str, list[tuple[int, int]]] = {name: [] for name in KINDS}
    client: Any = counter
    for key in client.scan_iter(count=1000):
        for name, (pattern, _) in KINDS.items():
            if pattern.search(key.decode()):
                count = _LENGTHS[client.type(key)]
                entries = 1 if count is None else int(getattr(client, count)(key))
                found[name].append((entries, int(client.memory_usage(key, samples=0))))
    found["impression log"] = found["impression log"] or [(0, 0)]
    return found


def _line(name: str, keys: Sequence[tuple[int, int]]) -> Taken:
    entries, taken = (np.array(column, float) for column in zip(*keys, strict=True))
    entry = KINDS[name][1]
    few, many = entries == entries.min(), entries == entries.max()
    if few.all():
        # One key per entry, or all entries in the keys of the kind, each in every one.
        shared = name == "live items"
        each = float((taken / entries).sum() if shared else (taken / entries).mean())
        return Taken(entry, 1.0, each, each)
    least, most = float(taken[few].mean()), float(taken[many].mean())
    return Taken(entry, float(entries.min()), least, (most - least) / float(np.ptp(entries)))
