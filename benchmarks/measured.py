"""What earlier benchmarks and the files of the worlds say, as lines and powers over the number of items."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.report import newest
from benchmarks.scale import SERVED, Scale
from models import artifacts
from retrieval.index import KINDS

COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "item vectors": (artifacts.ITEM_VECTORS,),
    "pre-rank table": (artifacts.PRERANK_VECTORS,),
    "rank table": (artifacts.RANK_VECTORS,),
    "neighbour lists": (artifacts.NEIGHBOUR_ROWS, artifacts.NEIGHBOUR_SCORES),
    "ids": (artifacts.ITEM_IDS,),
    "records": (artifacts.ITEM_RECORDS,),
    "attribute tokens": (artifacts.ITEM_TOKENS,),
    "dates, availability, popularity, clusters": (
        artifacts.ITEM_CREATED,
        artifacts.ITEM_AVAILABLE,
        artifacts.POPULARITY,
        artifacts.ASSIGNMENT,
    ),
    "lexical index": (artifacts.LEXICAL,),
}
"""Files of a bundle that grow with its items, by the beginnings of their names."""


@dataclass(frozen=True, slots=True)
class Line:
    """`base + each * items`, through the two largest sizes that were measured."""

    base: float
    each: float

    @classmethod
    def through(cls, points: Mapping[int, float]) -> Line:
        """The line; of one point a proportion."""
        if len(points) == 1:
            ((items, value),) = points.items()
            return cls(0.0, value / items)
        small, large = sorted(points)[-2:]
        each = (points[large] - points[small]) / (large - small)
        return cls(points[large] - each * large, each)

    def at(self, items: float) -> float:
        """The value for so many items."""
        return self.base + self.each * items


@dataclass(frozen=True, slots=True)
class Power:
    """`value * (items / at_items) ^ exponent`: a line on double logarithmic scales, as `growth` draws it."""

    at_items: float
    value: float
    exponent: float

    @classmethod
    def through(cls, points: Mapping[int, float]) -> Power:
        """The power through the two largest sizes."""
        small, large = sorted(points)[-2:]
        exponent = math.log(points[large] / points[small]) / math.log(large / small)
        return cls(large, points[large], exponent)

    def at(self, items: float) -> float:
        """The value for so many items."""
        return self.value * math.pow(items / self.at_items, self.exponent)


@dataclass(frozen=True)
class Measured:
    """Sizes in bytes, times in ms of CPU; `sources` are the JSON files that were read."""

    components: Mapping[str, Line]
    indexes: Mapping[str, Line]
    recall: Mapping[str, float]
    kernel: Mapping[str, Power]
    retrieval: Mapping[str, Power]
    heap: Line
    ready_s: Line
    request_ms: float
    redis_ms: float
    sources: Sequence[str]

    @classmethod
    def read(cls, root: Path, sizes: Sequence[int]) -> Measured:
        """Read all, from the worlds of `sizes` and the newest results below `root`.

        Raises:
            FileNotFoundError: a world or result is missing; says which benchmark makes it.
        """
        scales = [Scale(root, items) for items in sorted(sizes)]
        for scale in scales:
            if not scale.written:
                raise FileNotFoundError(f"{scale.folder}: run `cascada bench prepare`")
        kernel, growth = (newest(root, name, has_what_is_served) for name in ("kernel", "growth"))
        race = newest(root, "recall-only")
        alone = _memories(root, sizes)
        first = {told["rows"][0]["items"]: told["rows"][0] for told in alone}
        served = [row for row in growth["rows"] if _is_served(row)]
        whole = next(row for row in race["rows"] if (row["side"], row["loop, connections"]) == _WHOLE)
        return cls(
            components={
                name: Line.through({one.items: _size(one, files) for one in scales})
                for name, files in COMPONENTS.items()
            },
            indexes={kind: Line.through({one.items: _index(one, kind) for one in scales}) for kind in KINDS},
            recall={kind: _of(kernel, kind)[-1]["recall@200"] for kind in KINDS},
            kernel={
                kind: Power.through({row["items"]: row["ms per 5 queries"] for row in _of(kernel, kind)})
                for kind in KINDS
            },
            retrieval={
                part: Power.through({row["items"]: row[f"{part} ms"] for row in served}) for part in PARTS
            },
            heap=Line.through({items: row["of it anonymous MB"] * 1e6 for items, row in first.items()}),
            ready_s=Line.through({items: _quickest_start(root, items) for items in first}),
            request_ms=whole["CPU s / 1,000"],
            redis_ms=whole["Redis CPU s / 1,000"],
            sources=[told["path"] for told in (kernel, growth, race, *alone)],
        )


PARTS = ("ids to rows", "user tower", "interests", "search", "filters")
RACED = 100_000
"""Items of the race beside LibRecommender."""
_WHOLE = ("ours, whole cascade", "closed, 8")


def has_what_is_served(told: Mapping[str, Any]) -> bool:
    """Whether a report has the kind of index that bundles have, at the two sizes that a slope wants."""
    return {100_000, 1_000_000} <= {row["items"] for row in told["rows"] if _is_served(row)}


def _is_served(row: Mapping[str, Any]) -> bool:
    """Whether a row is a measurement with the kind of index that bundles have."""
    return str(row["index"]).startswith(f"{SERVED},") and row["recall@200"] is not None


def _memories(root: Path, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """The newest `memory` of every size that has one."""
    found = []
    for items in sizes:
        with suppress(FileNotFoundError):
            found.append(newest(root, "memory", partial(_is_of, items)))
    if not found:
        raise FileNotFoundError(f"{root}/results has no memory-*.json: run `cascada bench memory`")
    return found


def _quickest_start(root: Path, items: int) -> float:
    """Seconds, of all results: what else a machine does can only lengthen a start."""
    told = [json.loads(path.read_bytes()) for path in (root / "results").glob("memory-*.json")]
    return min(float(row["s to ready"]) for one in told if _is_of(items, one) for row in one["rows"])


def _is_of(items: int, told: Mapping[str, Any]) -> bool:
    return bool(told["rows"][0]["items"] == items)


def _of(kernel: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    rows = [row for row in kernel["rows"] if str(row["index"]).partition(",")[0] == kind]
    return sorted(rows, key=lambda row: int(row["items"]))


def _size(scale: Scale, names: Sequence[str]) -> float:
    found = [path for name in names for path in scale.bundle.glob(f"{name.removesuffix('.npy')}*")]
    files = [file for path in found for file in ([path] if path.is_file() else path.rglob("*"))]
    if not files:
        raise FileNotFoundError(f"{scale.bundle}: no file of {', '.join(names)}")
    return float(sum(file.stat().st_size for file in files if file.is_file()))


def _index(scale: Scale, kind: str) -> float:
    path = scale.at(kind) / artifacts.INDEX
    if not path.is_file():
        raise FileNotFoundError(f"{path}: run `cascada bench prepare`")
    return float(path.stat().st_size)
