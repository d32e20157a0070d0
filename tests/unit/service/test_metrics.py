from __future__ import annotations

import numpy as np

from service.metrics import Metrics, markdown


def text(metrics: Metrics) -> str:
    return metrics.render().decode()


def test_two_apps_share_no_series() -> None:
    one, other = Metrics(), Metrics()
    one.shed.inc()
    assert "cascada_shed_total 1.0" in text(one)
    assert "cascada_shed_total 0.0" in text(other)


def test_a_stage_counts_time_rows_and_failures() -> None:
    metrics = Metrics()
    metrics.on_stage("recommend", "score.rank", 0.003, 200, 200, failed=False)
    metrics.on_stage("recommend", "score.rank", 0.003, 200, 0, failed=True)
    labels = '{cascade="recommend",stage="score.rank"}'
    assert f"cascada_stage_seconds_count{labels} 2.0" in text(metrics)
    assert f"cascada_stage_rows_in_total{labels} 400.0" in text(metrics)
    assert f"cascada_stage_rows_out_total{labels} 200.0" in text(metrics)
    assert f"cascada_stage_failures_total{labels} 1.0" in text(metrics)


def test_the_buckets_of_a_stage_are_those_of_a_histogram() -> None:
    metrics = Metrics()
    for seconds in (0.0001, 0.001, 0.0011, 5.0):
        metrics.on_stage("search", "source.lexical", seconds, 0, 1, failed=False)
    found = {
        sample.labels["le"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "cascada_stage_seconds_bucket"
    }
    assert (found["0.0005"], found["0.001"], found["0.002"], found["1.0"], found["+Inf"]) == (1, 2, 3, 3, 4)


def test_an_answer_counts_what_it_went_without() -> None:
    metrics = Metrics()
    metrics.on_answer("search", 0.01, 0.004, 0, ("rank", "store"))
    metrics.on_degraded("search", "rank", "failed", ValueError())
    assert 'cascada_degraded_total{cascade="search",part="rank"} 1.0' in text(metrics)
    assert 'cascada_empty_answers_total{cascade="search"} 1.0' in text(metrics)
    assert 'cascada_fallbacks_total{cascade="search",reason="failed",stage="rank"} 1.0' in text(metrics)


def test_sources_and_filters_are_tallied_by_their_labels() -> None:
    metrics = Metrics()
    metrics.on_source("recommend", "popular", 5, 2)
    metrics.on_source("recommend", "popular", 7, 0)
    metrics.on_source("search", "popular", 1, 1)
    metrics.on_filter("recommend", "seen", 3)
    said = text(metrics)
    assert 'cascada_source_candidates_total{cascade="recommend",source="popular"} 12.0' in said
    assert 'cascada_source_candidates_total{cascade="search",source="popular"} 1.0' in said
    assert 'cascada_source_unique_total{cascade="recommend",source="popular"} 2.0' in said
    assert 'cascada_filtered_total{cascade="recommend",reason="seen"} 3.0' in said


def test_missing_predictions_do_not_spoil_the_sum() -> None:
    metrics = Metrics()
    metrics.on_predictions(np.array([0.25, np.nan, 0.5], np.float32))
    assert "cascada_prediction_sum_total 0.75" in text(metrics)
    assert "cascada_prediction_count_total 2.0" in text(metrics)


def test_only_the_bundle_in_use_is_shown() -> None:
    metrics = Metrics()
    metrics.on_bundle("a", "h", "t")
    metrics.on_bundle("b", "h", "t")
    assert text(metrics).count("cascada_bundle_info{") == 1
    assert 'version="b"' in text(metrics)


def test_every_series_is_documented() -> None:
    table = markdown()
    for family in Metrics().registry.collect():
        assert f"| `{family.name}" in table
        assert family.documentation
