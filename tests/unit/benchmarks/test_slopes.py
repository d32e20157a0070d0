import numpy as np
import pytest

from benchmarks.slopes import slope

HOURS = np.linspace(0.0, 1.0, 45).tolist()


def series(rise: float, noise: float, seed: int = 1) -> list[float]:
    """A value of 100 that rises by so much in the hour, with noise."""
    rng = np.random.default_rng(seed)
    return (100.0 + rise * np.array(HOURS) + noise * rng.standard_normal(len(HOURS))).tolist()


@pytest.mark.parametrize(
    ("rise", "noise", "verdict"),
    [
        (0.0, 0.0, "flat"),
        (0.0, 1.0, "flat"),
        (-50.0, 1.0, "flat"),
        (20.0, 1.0, "rises"),
        (0.0, 40.0, "unclear"),
    ],
)
def test_a_series_is_flat_only_when_its_slope_is_known_to_be_small(rise, noise, verdict):
    found = slope(HOURS, series(rise, noise), share=0.05, least=0.0)
    assert found.allowed == pytest.approx(0.05 * found.median)
    assert found.verdict == verdict


def test_the_slope_is_per_hour_and_lies_in_its_interval():
    found = slope(HOURS, series(20.0, 1.0), share=0.05, least=0.0)
    assert found.per_hour == pytest.approx(20.0, abs=2.0)
    assert found.low <= found.per_hour <= found.high


def test_one_odd_window_makes_no_rise():
    values = series(0.0, 0.1)
    values[-1] = 10_000.0
    assert slope(HOURS, values, share=0.05, least=0.0).verdict == "flat"


def test_small_values_may_rise_by_a_little_anyhow():
    values = [10.0] * 20 + [11.0] * 25
    assert slope(HOURS, values, share=0.01, least=0.0).verdict != "flat"
    assert slope(HOURS, values, share=0.01, least=3.0).verdict == "flat"


def test_few_windows_say_nothing():
    with pytest.raises(ValueError, match="7 windows are too few"):
        slope(HOURS[:7], [1.0] * 7, 0.1, 0.0)
