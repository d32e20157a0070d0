"""What Prometheus scrapes. One registry per app; histograms, so that replicas can be added up."""

from __future__ import annotations

import math
import time
from functools import cache

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from service.overload.costs import Costs
from service.stage_metrics import LABELS, StageMetrics
from service.tally import Tally

WAITS_S = (0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 21_600.0, 86_400.0, 604_800.0)
LOGITS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Metrics:
    """All series of one app; also the cascade's `Observer`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._stages = StageMetrics(BUCKETS_S)
        self.registry.register(self._stages)
        self.costs: Costs | None = None
        self._declare_door()
        self._declare_answers()
        self._declare_stages()
        self._declare_auctions()
        self._declare_calibration()
        self._declare_store()
        self._declare_samples()
        self._declare_bundles()
        self._declare_items()

    def _declare_door(self) -> None:
        self.requests = self._counter(
            "requests", "Calls by outcome, refused and failed ones included", "route status"
        )
        self._refused = cache(lambda route: self.requests.labels(route, 503))
        self.request_seconds = self._histogram(
            "request_seconds", "Time from the door to the last byte", "route"
        )
        self.in_progress = self._gauge("in_progress", "Calls that hold a permit")
        self.shed = self._counter("shed", "Calls refused at the door")
        self.turn_seconds = self._histogram(
            "turn_seconds", "Time for which a list waited for its turn to be computed"
        )
        self.quality = self._gauge(
            "quality", "Share of the plan's widths that lists are ranked with, at least"
        )
        self.quality.set(1)
        self.client_gone = self._counter("client_gone", "Calls given up because the client had left")

    def _declare_answers(self) -> None:
        self.answers = self._counter("answers", "Answered queries", "cascade")
        self.answer_seconds = self._histogram("answer_seconds", "Time in the cascade", "cascade")
        self.answer_items = self._counter("answer_items", "Items returned", "cascade")
        self.empty_answers = self._counter("empty_answers", "Answers without any item", "cascade")
        self.degraded = self._counter("degraded", "Answers that went without a part", "cascade part")
        self.unknown_placements = self._counter(
            "unknown_placements", "Calls at a placement that neither settings nor bundle know", "cascade"
        )

    def _declare_stages(self) -> None:
        self.fallbacks = self._counter("fallbacks", "Fallbacks taken", "cascade stage reason")
        self.nonfinite = self._counter("nonfinite_scores", "Scores that were not finite", "cascade stage")
        self.source_candidates = self._tally("source_candidates", "Proposed by a source", "cascade source")
        self.source_unique = self._tally("source_unique", "Proposed by this source alone", "cascade source")
        self.filtered = self._tally("filtered", "Candidates ruled out", "cascade reason")
        self.prediction_sum = self._counter(
            "prediction_sum", "Sum of the returned pCTR: drifts before clicks do"
        )
        self.prediction_count = self._counter("prediction_count", "Number of returned pCTR")

    def _declare_auctions(self) -> None:
        self.auctions = self._counter(
            "auctions", "Auctions by how they ended, or why none was held", "result"
        )
        self.auction_seconds = self._histogram(
            "auction_seconds", "Time that an auction added to an answer", "result"
        )
        self.auction_ads = self._counter(
            "auction_ads", "Ads that were considered, by what became of them", "reason"
        )
        self.ad_clicks = self._counter(
            "ad_clicks", "Clicks on items with a bid, by what became of them", "result"
        )
        self.charged_micros = self._counter("charged_micros", "What clicks were charged", "currency")
        self.faulty_offers = self._gauge("faulty_offers", "Items whose bid cannot be; they are sold nowhere")

    def _declare_calibration(self) -> None:
        self.calibration_predicted = self._gauge(
            "calibration_predicted_clicks",
            "Clicks predicted of what was sold lately, by the calibrator in use",
            "placement decile",
        )
        self.calibration_clicks = self._gauge(
            "calibration_clicks", "Clicks that came of it", "placement decile"
        )
        self.calibration_copc = self._gauge(
            "calibration_copc",
            "Predicted over observed clicks, and the limits of their 99.9% interval",
            "placement decile bound",
        )
        self.calibration_in_use = self._gauge(
            "calibration_in_use", "1 for the calibrator that a placement prices with", "placement calibration"
        )
        self.calibration_changes = self._counter(
            "calibration_changes", "Changes of the calibrator that is priced with", "placement calibration"
        )

    def _declare_store(self) -> None:
        self.remembered = self._counter(
            "remembered_users", "Runs of the graphs that read a user, by whether one was remembered", "result"
        )
        self.events = self._counter("events", "Events by what became of them", "result")
        self.store_seconds = self._histogram("store_seconds", "Time of a call to the feature store", "call")
        self.store_failures = self._counter(
            "store_failures", "Calls that the feature store did not answer", "call"
        )
        self.side_effects = self._counter(
            "side_effects", "Answers logged, or dropped for lack of room", "result"
        )
        self.traces = self._counter("traces", "Traces of answers by what became of them", "result")
        self.trace_bytes = self._counter("trace_bytes", "Bytes of the traces that were packed")
        self.catalogue_changes = self._counter(
            "catalogue_changes", "Item changes by what became of them", "result"
        )

    def _declare_samples(self) -> None:
        recall_labels = "bundle_version k"
        self.index_recall_sum = self._counter(
            "index_recall_sum",
            "Sum of the recalls of index queries that were asked again exactly",
            recall_labels,
        )
        self.index_recall_count = self._counter(
            "index_recall_count", "Index queries that were asked again exactly", recall_labels
        )
        self.index_recall_stated = self._gauge(
            "index_recall_stated", "Recall that the index of a sampled bundle promises", recall_labels
        )
        self.ranker_rounding = self._histogram(
            "ranker_rounding",
            "Mean absolute difference of an answer's logits from single precision, where they were sampled",
            "bundle_version cascade",
            LOGITS,
        )
        self.sample_failures = self._counter(
            "sample_failures", "Samples that could not be measured", "sample"
        )

    def _declare_bundles(self) -> None:
        self.ready = self._gauge("ready", "Workers through whose cascade real requests went")
        self.worker_restarts = self._counter("worker_restarts", "Workers that were replaced")
        self.bundle = self._gauge(
            "bundle_info", "The bundle in use, as labels", "version schema_hash created"
        )
        self.bundle_swaps = self._counter("bundle_swaps", "Bundles that were activated or refused", "result")
        self.bundle_behind = self._gauge(
            "bundle_behind", "1 while a worker serves another bundle than the chosen one"
        )

    def _declare_items(self) -> None:
        self.catalogue_items = self._gauge("catalogue_items", "Items of the snapshot in use")
        self.live_items = self._gauge("live_items", "Items whose live record differs from the bundle")
        self.live_item_limit = self._gauge("live_item_limit", "So many items may differ from the bundle")
        self.item_change_seconds = self._histogram(
            "item_change_seconds", "Time from a stored item change to the answers of this process"
        )
        self.first_impression_seconds = self._histogram(
            "first_impression_seconds",
            "Time from the first PUT of a new item to its first impression",
            buckets=WAITS_S,
        )

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)

    def on_refused(self, route: str) -> None:
        """A call for a list was refused before it was parsed."""
        self.shed.inc()
        self._refused(route).inc()

    def on_bundle(self, version: str, schema_hash: str, created: str) -> None:
        """Another bundle serves from now on."""
        self.bundle.clear()
        self.bundle.labels(version, schema_hash, created).set(1)

    def on_store(self, call: str, seconds: float, failed: bool) -> None:
        """See `service.features.connection.Observe`."""
        self.store_seconds.labels(call).observe(seconds)
        if failed:
            self.store_failures.labels(call).inc()

    def on_predictions(self, pctr: NDArray[np.float32]) -> None:
        """These click probabilities were returned."""
        known = [value for value in pctr.tolist() if not math.isnan(value)]
        self.prediction_sum.inc(sum(known))
        self.prediction_count.inc(len(known))

    def on_remembered(self, hit: bool) -> None:
        """See `models.remembered.Told`."""
        self.remembered.labels("hit" if hit else "miss").inc()

    def on_auction(self, result: str, started: float) -> None:
        """An auction that began at a moment on `time.monotonic()` ended like this."""
        self.auctions.labels(result).inc()
        self.auction_seconds.labels(result).observe(time.monotonic() - started)

    def on_recall(self, version: str, k: int, stated: float, found: float) -> None:
        """One query of this bundle's index found the share `found` of its exact best `k`."""
        self.index_recall_sum.labels(version, k).inc(found)
        self.index_recall_count.labels(version, k).inc()
        self.index_recall_stated.labels(version, k).set(stated)

    def on_rounding(self, version: str, cascade: str, apart: float) -> None:
        """The logits of one answer of this bundle are so far from those in single precision, on average."""
        self.ranker_rounding.labels(version, cascade).observe(apart)

    def on_stage(
        self, cascade: str, stage: str, seconds: float, rows_in: int, rows_out: int, failed: bool
    ) -> None:
        """See `service.cascade.observe.Observer`."""
        self._stages.add(cascade, stage, seconds, rows_in, rows_out, failed)
        if self.costs is not None and rows_in and stage.startswith("score."):
            self.costs.observe(cascade, stage, rows_in, seconds)

    def on_source(self, cascade: str, source: str, proposed: int, unique: int) -> None:
        """See `service.cascade.observe.Observer`."""
        self.source_candidates.add(proposed, cascade, source)
        self.source_unique.add(unique, cascade, source)

    def on_filter(self, cascade: str, reason: str, count: int) -> None:
        """See `service.cascade.observe.Observer`."""
        self.filtered.add(count, cascade, reason)

    def on_degraded(self, cascade: str, stage: str, reason: str, error: BaseException | None) -> None:
        """See `service.cascade.observe.Observer`."""
        self.fallbacks.labels(cascade, stage, reason).inc()

    def on_nonfinite(self, cascade: str, stage: str, count: int) -> None:
        """See `service.cascade.observe.Observer`."""
        self.nonfinite.labels(cascade, stage).inc(count)

    def on_answer(
        self, cascade: str, seconds: float, scoring: float, returned: int, degraded: tuple[str, ...]
    ) -> None:
        """See `service.cascade.observe.Observer`."""
        if self.costs is not None:
            self.costs.close(cascade, seconds - scoring)
        self.answers.labels(cascade).inc()
        self.answer_seconds.labels(cascade).observe(seconds)
        self.answer_items.labels(cascade).inc(returned)
        if not returned:
            self.empty_answers.labels(cascade).inc()
        for part in degraded:
            self.degraded.labels(cascade, part).inc()

    def _counter(self, name: str, meaning: str, labels: str = "") -> Counter:
        return Counter(f"cascada_{name}", meaning, labels.split(), registry=self.registry)

    def _tally(self, name: str, meaning: str, labels: str) -> Tally:
        tally = Tally(f"cascada_{name}", meaning, labels.split())
        self.registry.register(tally)
        return tally

    def _gauge(self, name: str, meaning: str, labels: str = "") -> Gauge:
        return Gauge(f"cascada_{name}", meaning, labels.split(), registry=self.registry)

    def _histogram(
        self, name: str, meaning: str, labels: str = "", buckets: tuple[float, ...] = BUCKETS_S
    ) -> Histogram:
        return Histogram(f"cascada_{name}", meaning, labels.split(), registry=self.registry, buckets=buckets)


def markdown() -> str:
    """The table of all series, as the documentation shows it."""
    metrics = Metrics()
    series = vars(metrics).values()
    labels = {m._name: m._labelnames for m in series if isinstance(m, MetricWrapperBase)}
    labels |= {m.name: m.labels for m in series if isinstance(m, Tally)}
    lines = ["| series | type | labels | meaning |", "|---|---|---|---|"]
    for family in metrics.registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        names = ", ".join(f"`{label}`" for label in labels.get(family.name, LABELS))
        lines.append(f"| `{name}` | {family.type} | {names} | {family.documentation} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
