"""Counters of what happens several times in every answer, for Prometheus.

To find a counter by its labels and to lock it takes longer than most of what is counted; so these are plain
numbers that are put together only when somebody scrapes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector


class Tally(Collector):
    """Written by the thread that answers; a second writer at the same time could lose a count, no more."""

    def __init__(self, name: str, meaning: str, labels: Sequence[str]) -> None:
        self.name = name
        self.labels = tuple(labels)
        self._meaning = meaning
        self._counts: defaultdict[tuple[str, ...], int] = defaultdict(int)

    def add(self, count: int, *values: str) -> None:
        """Count so many more for the values of the labels."""
        self._counts[values] += count

    def collect(self) -> Iterator[Metric]:
        """The family of this moment."""
        family = CounterMetricFamily(self.name, self._meaning, labels=self.labels)
        for values, count in list(self._counts.items()):
            family.add_metric(values, count)
        yield family
