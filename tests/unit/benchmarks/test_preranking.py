import pytest

from benchmarks import preranking as bench
from models.training.config import PreRankerConfig


@pytest.fixture
def small(monkeypatch):
    """One small form, a few requests."""
    form = PreRankerConfig(dim=8, interests=2, iterations=2, hierarchy="residual")
    monkeypatch.setattr(bench, "FORMS", {"as configured": form})
    for name, count in {"CANDIDATES": 30, "EVENTS": 5, "REQUESTS": 4, "ROUNDS": 1}.items():
        monkeypatch.setattr(bench, name, count)


def test_every_form_is_timed_on_both_sides(small):
    report = bench.preranking([100, 200], "cascada bench preranking")
    (row,) = report.rows
    assert row["form"] == "as configured"
    assert 0 < row["user side, ms"] < row["both, ms"]
    assert 0 < row["30 candidates, ms"] < row["both, ms"]
    assert "200 items" in report.notes[0]


def test_the_goal_is_judged_by_what_ships():
    rows = [{"form": "as configured", "both, ms": 0.2}, {"form": "slow", "both, ms": 0.4}]
    assert "reached as configured (0.200 ms). Missed by: slow." in bench._notes(rows, 10)[1]
    rows[0]["both, ms"] = 0.31
    assert "missed as configured (0.310 ms). Missed by: as configured; slow." in bench._notes(rows, 10)[1]
