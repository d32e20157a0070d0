import numpy as np
import pytest

from benchmarks.command import main
from benchmarks.soak import ALLOWED, judged
from benchmarks.soak_picture import draw
from benchmarks.soaking import Soaked

WINDOWS = 40


def soaked(**rises: float) -> Soaked:
    """A soak of 20 minutes whose series are flat but for those that rise by a share of themselves."""
    found = Soaked(rate=60.0, saturation=100.0)
    found.series["minutes"] = np.linspace(0.5, 20.0, WINDOWS).tolist()
    time = np.arange(WINDOWS) / WINDOWS
    rng = np.random.default_rng(1)
    for name in ALLOWED:
        values = 300.0 * (1.0 + rises.get(name.split()[0], 0.0) * time + 0.002 * rng.standard_normal(WINDOWS))
        # What warms up is no leak.
        found.series[name] = np.where(np.arange(WINDOWS) < found.warm, values / 2, values).tolist()
    return found


def verdicts(found: Soaked) -> dict[str, str]:
    return {row["what"]: row["verdict"] for row in judged(found)}


def test_a_service_that_only_warms_up_is_flat():
    assert set(verdicts(soaked()).values()) == {"flat"}


@pytest.mark.parametrize(
    ("name", "what"),
    [("RSS", "RSS MB"), ("descriptors", "descriptors"), ("p99", "p99 ms"), ("Redis", "Redis keys")],
)
def test_whatever_rises_is_named(name, what):
    told = verdicts(soaked(**{name: 0.6}))
    assert told[what] == "rises"
    assert told["p50 ms"] == "flat"


def test_a_window_without_an_answer_is_an_error():
    found = soaked()
    found.series["p99 ms"][-1] = float("nan")
    with pytest.raises(ValueError, match="a window without any answer"):
        judged(found)


def test_the_picture_shows_every_series():
    found = soaked(RSS=0.5)
    found.swaps = [3.0, 7.0]
    picture = draw({**found.series, "swaps at minute": found.swaps}, judged(found), found.warm)
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000


def test_a_soak_that_is_too_short_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["soak", "--folder", str(tmp_path), "--minutes", "0.1"])
    assert "0.1 minutes are too few for a slope" in capsys.readouterr().err
