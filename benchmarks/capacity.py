"""`capacity`: memory and CPU at 10^7 to 10^9 items and 10^9 users, computed from what was measured.

Nothing here is a measurement but the state in Redis, which is weighed anew (`benchmarks.state`). Bytes grow
on a straight line through the two largest worlds, CPU on one on double logarithmic scales
(`benchmarks.measured`). What is assumed of machines and people are the constants below, told in the notes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bundle import STATED
from benchmarks.measured import PARTS, RACED, Measured
from benchmarks.report import Report, Row
from benchmarks.scale import SERVED
from benchmarks.state import Taken, state

SIZES = (10_000_000, 100_000_000, 1_000_000_000)
USERS = 1_000_000_000
MACHINE_GB, MACHINE_CORES = 256.0, 32
FILL, BUSY = 0.7, 0.6
"""Parts of a machine's memory and cores that are planned with."""
READY_MINUTES = 10.0
"""Longest start of a worker: more items than that takes are divided among machines."""
REDIS_GB, REDIS_COPIES = 24.0, 2
"""Of one Redis process, which must fork and be copied in minutes; each has a replica."""
DAILY, LISTS, PEAK = 0.1, 10.0, 3.0
"""Share of the users who come in a day, lists that each asks for, the busiest hour over the mean one."""
TYPICAL: Mapping[str, float] = {"profile": 1, "history": 100, "event ids": 10, "exposures": 20}
"""Entries of a user."""
LIMITED: Mapping[str, int] = {
    "event log": 100_000,
    "impression log": 100_000,
    "traces": 1000,
    "live items": 50_000,
}
"""Entries that the settings allow by default, for all users together."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How `items` are laid out with an index of `kind`: `shards` parts, each `copies` times."""

    items: int
    kind: str
    shards: int
    copies: int
    gigabytes: float
    request_ms: float
    ready_minutes: float

    @property
    def machines(self) -> int:
        """Machines that answer, all in all."""
        return self.shards * self.copies


def capacity(root: Path, sizes: Sequence[int], command: str) -> list[Report]:
    """Four reports: bytes per item, CPU by index, bytes per user, and what is chosen."""
    measured = Measured.read(root, sizes)
    weighed = state(root, min(sizes))
    sources = "Read: " + ", ".join(Path(path).name for path in measured.sources) + "."
    return [
        Report("capacity-items", command, item_rows(measured), [*_ITEMS, sources]),
        Report("capacity-cpu", command, cpu_rows(measured), _CPU),
        Report("capacity-users", command, user_rows(weighed), _users()),
        Report("capacity-choice", command, choice_rows(measured, weighed), _choice(measured)),
    ]


def item_rows(measured: Measured) -> list[Row]:
    """A row per component, one per kind of index, the heap of a worker, and the sum with the served kind."""
    index = {f"index, {kind}": line for kind, line in measured.indexes.items()}
    every = {**measured.components, **index, "heap of each worker": measured.heap}
    rows: list[Row] = [
        _sizes(name, line.each, [line.at(items) for items in SIZES]) for name, line in every.items()
    ]
    held = [*measured.components.values(), measured.indexes[SERVED], measured.heap]
    total = [sum(line.at(items) for line in held) for items in SIZES]
    rows.append(_sizes(f"one worker, index {SERVED}", sum(line.each for line in held), total))
    more = MACHINE_CORES - 1
    every_core = [one + more * measured.heap.at(items) for one, items in zip(total, SIZES, strict=True)]
    each = float(rows[-1]["bytes per item"]) + more * measured.heap.each
    return [*rows, _sizes(f"a machine of {MACHINE_CORES} workers, index {SERVED}", each, every_core)]


def cpu_rows(measured: Measured) -> list[Row]:
    """CPU ms of five queries in one piece, by kind of index."""
    rows: list[Row] = []
    for kind, power in sorted(measured.kernel.items(), key=lambda pair: pair[1].value):
        row: dict[str, object] = {"index": kind, "recall@200": measured.recall[kind]}
        row[f"{power.at_items:,.0f}: ms per 5 queries"] = power.value
        row["grows with items to the"] = power.exponent
        rows.append(row | {f"{_power(items)}: ms": power.at(items) for items in SIZES})
    return rows


def user_rows(weighed: Mapping[str, Taken]) -> list[Row]:
    """What a typical user and the bounded logs take in Redis."""
    rows: list[Row] = []
    for name, entries in TYPICAL.items():
        taken = weighed[name].of(entries)
        rows.append(_state(name, weighed[name], entries, taken, taken * USERS))
    total = sum(weighed[name].of(entries) for name, entries in TYPICAL.items())
    rows.append({**dict.fromkeys(rows[0]), "state": "one user", "bytes": total, _ALL: total * USERS / 1e9})
    for name, limit in LIMITED.items():
        taken = weighed[name].each * limit
        rows.append(_state(f"{name}, all users", weighed[name], limit, taken, taken))
    return rows


def choice_rows(measured: Measured, weighed: Mapping[str, Taken]) -> list[Row]:
    """The layout with the fewest machines at every size, and the Redis beside it."""
    each = sum(weighed[name].of(entries) for name, entries in TYPICAL.items())
    rate = USERS * DAILY * LISTS / 86_400 * PEAK
    shards = math.ceil(max(each * USERS / (REDIS_GB * 1e9 * FILL), rate * measured.redis_ms / 1000 / BUSY))
    rows: list[Row] = []
    for items in SIZES:
        one = chosen(measured, items, rate)
        rows.append(
            {
                "items": _power(items),
                "index": one.kind,
                "where": "in the worker, mapped" if one.shards == 1 else "engine behind VectorIndex",
                "parts": one.shards,
                "copies": one.copies,
                "machines": one.machines,
                "GB per part": one.gigabytes,
                "start, minutes": one.ready_minutes,
                "CPU ms per list": one.request_ms,
                "Redis": "Cluster" if shards > 1 else "one",
                "Redis processes": shards * REDIS_COPIES,
            }
        )
    return rows


def chosen(measured: Measured, items: int, rate: float) -> Layout:
    """The layout of the fewest machines, then bytes, among kinds of index that find what is stated."""
    able = [kind for kind, recall in measured.recall.items() if recall >= STATED]
    layouts = [layout(measured, kind, items, rate) for kind in able]
    return min(layouts, key=lambda one: (one.machines, one.gigabytes * one.shards))


def layout(measured: Measured, kind: str, items: int, rate: float) -> Layout:
    """As few parts as memory and start allow, as many copies as `rate` lists per second need, at least two.

    A machine has the tables once and the heap of a worker per core.
    """
    shared = [*measured.components.values(), measured.indexes[kind]]
    shards = 1
    while True:
        part = items / shards
        gigabytes = (sum(line.at(part) for line in shared) + MACHINE_CORES * measured.heap.at(part)) / 1e9
        minutes = measured.ready_s.at(part) / 60
        if gigabytes <= MACHINE_GB * FILL and minutes <= READY_MINUTES:
            break
        shards += 1
    ms = request_ms(measured, kind, items, shards)
    cores = rate * ms / 1000 / BUSY
    copies = max(2, math.ceil(cores / (MACHINE_CORES * shards)))
    return Layout(items, kind, shards, copies, gigabytes, ms, minutes)


def request_ms(measured: Measured, kind: str, items: int, shards: int) -> float:
    """CPU ms of a list: what was measured over HTTP, with retrieval as it grows and a search per part."""
    retrieval = {part: measured.retrieval[part].at for part in PARTS}
    rest = measured.request_ms - sum(at(RACED) for at in retrieval.values())
    part = items / shards
    against = measured.kernel[kind].at(part) / measured.kernel[SERVED].at(part)
    search = shards * retrieval.pop("search")(part) * against
    return rest + sum(at(items) for at in retrieval.values()) + search


_ALL = "GB of 10^9 users"
_ITEMS = [
    "Bytes per item between the two largest worlds that were measured (64 dimensions, titles of three words, "
    "20 neighbours); the sizes continue that line.",
    "Workers of one machine share all but the heap. One kind of index is in use; the sum has one of them.",
]
_CPU = [
    "CPU of one thread for one request's five queries; measured where it says so, continued from the last "
    "two sizes on double logarithmic scales. Recall is that of the largest measured size.",
]


def _users() -> list[str]:
    entries = ", ".join(f"{count:g} x {name}" for name, count in TYPICAL.items())
    return [
        f"MEMORY USAGE of the keys that a service wrote. A typical user has {entries}. Logs, traces and live "
        "items are bounded by settings whatever the number of users; the defaults are shown.",
        "Pinned and muted interests, advertisers and Redis's own overhead per connection are left out.",
    ]


def _choice(measured: Measured) -> list[str]:
    rate = USERS * DAILY * LISTS / 86_400 * PEAK
    return [
        f"Assumed: machines of {MACHINE_GB:g} GB and {MACHINE_CORES} cores with a worker each, {FILL:.0%} "
        f"and {BUSY:.0%} of them used; {DAILY:.0%} of 10^9 users ask for {LISTS:g} lists a day, {PEAK:g} "
        f"times the mean at the peak: {rate:,.0f} lists per second; a start within {READY_MINUTES:g} "
        f"minutes; Redis processes of {REDIS_GB:g} GB, {FILL:.0%} used, {REDIS_COPIES} of each.",
        f"CPU per list: {measured.request_ms:.2f} ms were measured over HTTP at {RACED:,} items; retrieval "
        "grows as above, and every part is searched for every list. Chosen: the fewest machines, then bytes.",
    ]


def _sizes(name: str, each: float, taken: Sequence[float]) -> Row:
    return {
        "component": name,
        "bytes per item": each,
        **{f"GB at {_power(items)}": one / 1e9 for items, one in zip(SIZES, taken, strict=True)},
    }


def _state(name: str, taken: Taken, entries: float, total: float, everybody: float) -> Row:
    return {
        "state": name,
        "an entry is": taken.entry,
        "bytes of one": taken.each,
        "entries": round(entries),
        "bytes": total,
        _ALL: everybody / 1e9,
    }


def _power(items: int) -> str:
    return f"10^{round(math.log10(items))}"
