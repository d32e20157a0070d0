"""Series of several processes as one target: counters and histograms are added, gauges by their meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf

Rule = Callable[[float, float], float]


def _add(one: float, other: float) -> float:
    return one + other


GAUGES: dict[str, Rule] = {"cascada_in_progress": _add, "cascada_ready": _add, "cascada_quality": min}
"""How gauges of several workers become one; those that are not named take the greatest."""


@dataclass(slots=True)
class Series:
    """Families by name in the order in which they came: their head lines, type and samples."""

    heads: dict[str, list[str]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    samples: dict[str, dict[str, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> Series:
        """Read what `prometheus_client` writes: each family's lines together, HELP and TYPE first."""
        series, name = cls(), ""
        for line in text.splitlines():
            if line.startswith("#"):
                name = line.split(" ", 3)[2]
                series.heads.setdefault(name, []).append(line)
                series.samples.setdefault(name, {})
                if line.startswith("# TYPE "):
                    series.types[name] = line.rpartition(" ")[2]
            elif line:
                key, _, value = line.rpartition(" ")
                series.samples[name][key] = float(value)
        return series

    def add(self, other: Series, gauges: bool = True) -> None:
        """Take another process's samples in; without its gauges if it has ended."""
        for name, samples in other.samples.items():
            kind = other.types.get(name, "untyped")
            if kind == "gauge" and not gauges:
                continue
            self.heads.setdefault(name, other.heads[name])
            self.types.setdefault(name, kind)
            mine, rule = self.samples.setdefault(name, {}), _rule(name, kind)
            for key, value in samples.items():
                mine[key] = rule(mine[key], value) if key in mine else value

    def text(self) -> str:
        """What Prometheus reads."""
        return "".join(f"{line}\n" for name in self.heads for line in self._lines(name))

    def _lines(self, name: str) -> Iterable[str]:
        yield from self.heads[name]
        for key, value in self.samples[name].items():
            yield f"{key} {_number(value)}"


def _number(value: float) -> str:
    return {inf: "+Inf", -inf: "-Inf"}.get(value, repr(value))


def _rule(name: str, kind: str) -> Rule:
    if kind != "gauge":
        return _add
    # The moment from which a counter counts comes as a gauge.
    return min if name.endswith("_created") else GAUGES.get(name, max)


class Totals:
    """The newest series of each worker, and what those that ended had counted.

    Counters never fall: a worker's last known counts stay when it ends, and every scrape is made of what is
    known here.
    """

    def __init__(self) -> None:
        self._ended = Series()
        self._newest: dict[int, Series] = {}

    def know(self, worker: int, text: str) -> None:
        """A worker's series as it told them just now."""
        self._newest[worker] = Series.of(text)

    def end(self, worker: int) -> None:
        """A worker ended: its counts stay, its gauges go."""
        last = self._newest.pop(worker, None)
        if last is not None:
            self._ended.add(last, gauges=False)

    def text(self, own: str) -> str:
        """All workers as one, with the parent's `own` series."""
        every = Series()
        for series in (*self._newest.values(), Series.of(own)):
            every.add(series)
        every.add(self._ended)
        return every.text()
