"""`soak`: a real service at 60% of its saturation for long; latency, memory, descriptors and Redis stay flat.

`benchmarks.soaking` says what runs. The first quarter warms up; the rest is judged (`benchmarks.slopes`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import orjson

from benchmarks.mix import Cast
from benchmarks.people import KIND
from benchmarks.report import Report, Row
from benchmarks.scale import Scale
from benchmarks.slopes import slope
from benchmarks.soak_picture import draw
from benchmarks.soaking import CONNECTIONS, SHARE, WARM, Soaked, soaked
from benchmarks.world import item_id, titles, user_id
from models import artifacts
from models.artifacts import write_json

USERS, ITEMS = 500, 2000
"""Who asks, and of which items their calls name some."""
ALLOWED: Mapping[str, tuple[float, float]] = {
    "p50 ms": (0.15, 2.0),
    "p99 ms": (0.25, 10.0),
    "RSS MB": (0.02, 2.0),
    "of it anonymous MB": (0.03, 2.0),
    "descriptors": (0.05, 3.0),
    "Redis keys": (0.03, 20.0),
    "Redis MB": (0.03, 0.5),
}
"""How much each may rise over the judged time: a share of its median, or so much if that is more."""


def soak(root: Path, items: int, command: str, minutes: float) -> tuple[Report, bytes]:
    """Soak the bundle of `items` items; the report and its picture (PNG)."""
    scale = Scale(root, items)
    folder = root / "soaking"
    logs = root / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    try:
        bundles = twins(scale.bundle, folder)
        found = soaked(bundles, cast(scale), 60 * minutes, logs / "soak.log")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rows = judged(found)
    series = {**found.series, "swaps at minute": found.swaps}
    picture = draw(series, rows, found.warm)
    return Report("soak", command, rows, _notes(found, rows, items, minutes), series), picture


def cast(scale: Scale) -> Cast:
    """Users and items of a world of `benchmarks.world`."""
    rows = np.linspace(0, scale.items - 1, ITEMS).astype(int)
    words = [str(record["title"]) for record in titles(np.asarray(scale.world.topic)[rows])]
    return Cast(
        users=[user_id(user) for user in range(USERS)],
        items=[item_id(row) for row in rows.tolist()],
        texts=[title.rpartition(" ")[0] for title in words],
        event=KIND,
        attributes={"department": "department 1", "price": 10.0},
    )


def twins(bundle: Path, folder: Path) -> list[Path]:
    """The bundle under two versions, to swap between; their files are links to the same bytes."""
    shutil.rmtree(folder, ignore_errors=True)
    made = []
    for version in ("soak-a", "soak-b"):
        copy = shutil.copytree(bundle, folder / version, copy_function=os.link)
        manifest = copy / artifacts.MANIFEST
        write_json(manifest, {**orjson.loads(manifest.read_bytes()), "version": version})
        made.append(copy)
    return made


def judged(found: Soaked, allowed: Mapping[str, tuple[float, float]] = ALLOWED) -> list[Row]:
    """A row per series of `allowed`.

    Raises:
        ValueError: too few windows, or one without any answer.
    """
    rows: list[Row] = []
    warm, hours = found.warm, [minute / 60 for minute in found.series["minutes"]]
    for name, (share, least) in allowed.items():
        values = found.series[name][warm:]
        if not np.isfinite(values).all():
            raise ValueError("a window without any answer: the service is too slow for this load, or ended")
        one = slope(hours[warm:], values, share, least)
        tenth = max(1, len(values) // 10)
        rows.append(
            {
                "what": name,
                "at first": float(np.median(values[:tenth])),
                "at last": float(np.median(values[-tenth:])),
                "median": one.median,
                "slope per hour": one.per_hour,
                "95% from": one.low,
                "to": one.high,
                "rise while judged, at most": one.high * one.hours,
                "allowed": one.allowed,
                "verdict": one.verdict,
            }
        )
    return rows


def _notes(found: Soaked, rows: Sequence[Row], items: int, minutes: float) -> list[str]:
    flat = all(row["verdict"] == "flat" for row in rows)
    failures = ", ".join(f"{count} x {name}" for name, count in found.failed.items()) or "none"
    swaps = (
        f"{len(found.swaps)} bundle swaps, the slowest {found.slowest_swap_s:.1f} s"
        if found.swappable
        else "no bundle swaps, for the service has no call for them"
    )
    return [
        f"{items:,} items, {minutes:g} minutes, {found.calls:,} calls at {found.rate:.0f}/s, {SHARE:.0%} of "
        f"the {found.saturation:.0f}/s of a closed loop of {CONNECTIONS} connections; {swaps}.",
        f"Calls that failed: {failures}. Answers that went without something: {found.degraded:,}.",
        f"Slopes after Theil and Sen with 95% intervals, the first {WARM:.0%} left out. Flat = the upper "
        "end, over the judged time, is within what is allowed; rises = the lower end is beyond; else "
        "unclear.",
        f"Goal: all flat and no failure: {'reached' if flat and not found.failed else 'missed'}.",
    ]
