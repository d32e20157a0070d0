from __future__ import annotations

import math

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import Metrics
from service.workers.series import Series, Totals


def worker(requests: int, in_progress: int, version: str = "1", seconds: float = 0.003) -> str:
    metrics = Metrics()
    metrics.requests.labels('/v1/users/{a "quoted" \\ id}', 200).inc(requests)
    metrics.in_progress.set(in_progress)
    metrics.ready.set(1)
    metrics.catalogue_items.set(10 * requests)
    metrics.on_bundle(version, "schema", "today")
    metrics.on_stage("recommend", "source.popular", seconds, 0, 7, False)
    return metrics.render().decode()


def value(text: str, name: str, **labels: str) -> float:
    found = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, (name, found)
    return found[0]


def test_one_worker_s_text_comes_back_as_it_was() -> None:
    text = worker(3, 1)
    families = list(text_string_to_metric_families(text))
    assert list(text_string_to_metric_families(Series.of(text).text())) == families


def test_counters_and_histograms_are_added_and_gauges_by_their_meaning() -> None:
    totals = Totals()
    totals.know(1, worker(3, 1, "old", seconds=0.003))
    totals.know(2, worker(4, 2, "new", seconds=0.03))
    text = totals.text("")
    assert value(text, "cascada_requests_total") == 7
    assert value(text, "cascada_in_progress") == 3
    assert value(text, "cascada_ready") == 2
    assert value(text, "cascada_catalogue_items") == 40
    assert value(text, "cascada_bundle_info", version="old") == 1
    assert value(text, "cascada_bundle_info", version="new") == 1
    assert value(text, "cascada_stage_seconds_bucket", le="0.005") == 1
    assert value(text, "cascada_stage_seconds_bucket", le="+Inf") == 2
    assert value(text, "cascada_stage_seconds_count") == 2


def test_what_a_worker_had_counted_outlives_it_and_its_gauges_do_not() -> None:
    totals = Totals()
    totals.know(1, worker(3, 1, "old"))
    totals.know(2, worker(4, 2, "new"))
    totals.end(1)
    totals.end(1)
    totals.end(99)
    text = totals.text("")
    assert value(text, "cascada_requests_total") == 7
    assert value(text, "cascada_in_progress") == 2
    assert value(text, "cascada_ready") == 1
    assert 'version="old"' not in text
    totals.know(3, worker(5, 0))
    assert value(totals.text(""), "cascada_requests_total") == 12


def test_the_parent_s_own_series_are_there_and_what_is_no_number_survives() -> None:
    metrics = Metrics()
    metrics.live_items.set(math.inf)
    metrics.worker_restarts.inc(2)
    own = generate_latest(metrics.registry).decode()
    totals = Totals()
    totals.know(1, worker(1, 0))
    text = totals.text(own)
    assert value(text, "cascada_worker_restarts_total") == 2
    assert value(text, "cascada_live_items") == math.inf
