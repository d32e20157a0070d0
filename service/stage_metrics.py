"""Time, rows and failures per stage, for Prometheus.

An answer passes some 25 stages. Locked counters and a histogram for each would cost as much as a cheap stage,
so these are plain numbers that are put together only when somebody scrapes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

LABELS = ("cascade", "stage")


class _Stage:
    __slots__ = ("buckets", "failures", "rows_in", "rows_out", "seconds")

    def __init__(self, buckets: int) -> None:
        self.buckets = [0] * buckets
        self.seconds = 0.0
        self.rows_in = self.rows_out = self.failures = 0


class StageMetrics(Collector):
    """Written by the thread that answers; a second writer at the same time could lose a count, no more."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._stages: dict[tuple[str, str], _Stage] = {}

    def add(
        self, cascade: str, stage: str, seconds: float, rows_in: int, rows_out: int, failed: bool
    ) -> None:
        """Count one run of a stage."""
        one = self._stages.get((cascade, stage))
        if one is None:
            one = self._stages[cascade, stage] = _Stage(len(self._bounds) + 1)
        one.buckets[bisect_left(self._bounds, seconds)] += 1
        one.seconds += seconds
        one.rows_in += rows_in
        one.rows_out += rows_out
        one.failures += failed

    def collect(self) -> Iterator[Metric]:
        """The families of this moment."""
        seconds = HistogramMetricFamily("cascada_stage_seconds", "Time in a stage", labels=LABELS)
        rows_in = CounterMetricFamily(
            "cascada_stage_rows_in", "Candidates that entered a stage", labels=LABELS
        )
        rows_out = CounterMetricFamily(
            "cascada_stage_rows_out", "Candidates that left a stage", labels=LABELS
        )
        failures = CounterMetricFamily("cascada_stage_failures", "Failures of a stage", labels=LABELS)
        bounds = [*map(str, self._bounds), "+Inf"]
        for labels, one in list(self._stages.items()):
            buckets = list(zip(bounds, accumulate(one.buckets), strict=True))
            seconds.add_metric(labels, buckets, one.seconds)
            rows_in.add_metric(labels, one.rows_in)
            rows_out.add_metric(labels, one.rows_out)
            failures.add_metric(labels, one.failures)
        yield from (seconds, rows_in, rows_out, failures)
