from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from models import artifacts
from ranking.calibration import Calibration
from ranking.choosing import Samples
from ranking.platt import Platt
from service.bundle import Bundle
from service.calibrate import check_rises, refit, write_version
from service.errors import OperatorError
from tests.support.tiny_bundle import write_tiny_bundle

FORMER = Calibration(Platt(1.0, 0.0), previous=Calibration(Platt(3.0, 0.0)))
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def samples(count: int, slope: float = 0.7, shift: float = -1.5, seed: int = 5) -> Samples:
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1.0, 1.0, count)
    labels = rng.random(count) < 1 / (1 + np.exp(-(slope * logits + shift)))
    return Samples(logits, labels.astype(float), np.full(count, "default"))


def test_a_refit_is_honest_where_the_former_is_not() -> None:
    found = refit(samples(20_000), FORMER)
    assert found.former.copc > 1.5
    assert found.new.copc_low <= 1 <= found.new.copc_high
    assert found.new.ece < 0.02 < found.former.ece
    chance = found.calibration(np.array([-1.0]))[0]
    assert chance == pytest.approx(1 / (1 + np.exp(2.2)), rel=0.15)


def test_the_former_is_kept_but_not_the_one_before_it() -> None:
    found = refit(samples(5000), FORMER)
    assert found.calibration.previous == replace(FORMER, previous=None)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (samples(300), "too few: 200 with a click"),
        (replace(samples(3000), labels=np.ones(3000)), "too few"),
        (samples(20_000, slope=-1.0), "clicks do not rise"),
        (samples(20_000, slope=1.0, shift=0.0), "is as good on the newest"),
    ],
)
def test_what_says_nothing_is_refused(given: Samples, words: str) -> None:
    with pytest.raises(OperatorError, match=words):
        refit(given, FORMER)


def test_a_curve_that_falls_or_is_not_finite_is_refused() -> None:
    middle = np.array([-1.0, 1.0])
    for bad in (Platt(-1.0, 0.0), Platt(float("nan"), 0.0)):
        with pytest.raises(OperatorError, match="home: it does not rise"):
            check_rises(Calibration(Platt(1.0, 0.0), {"home": bad}), middle)


def test_a_new_version_differs_in_its_calibrator_alone(tmp_path: Path) -> None:
    bundle = Bundle.open(write_tiny_bundle(tmp_path, "20240101T000000Z-0badcafe"))
    found = refit(samples(5000), bundle.calibrator)
    written = write_version(bundle, found, tmp_path, NOW)
    new = Bundle.open(written)
    assert written.name == new.version == "20260301T000000Z-0badcafe-calibrated"
    assert new.calibrator.previous is not None
    assert new.calibrator.previous.to_json() == bundle.calibrator.to_json()
    changed = {name for name, entry in new.manifest.files.items() if entry != bundle.manifest.files[name]}
    assert changed == {artifacts.CALIBRATOR}
    assert new.manifest.created > bundle.manifest.created
    assert new.manifest.training["calibrated"]["of"] == bundle.version
    with pytest.raises(OperatorError, match="exists already"):
        write_version(bundle, found, tmp_path, NOW)


def test_a_bundle_that_changed_meanwhile_leaves_nothing_behind(tmp_path: Path) -> None:
    bundle = Bundle.open(write_tiny_bundle(tmp_path))
    found = refit(samples(5000), bundle.calibrator)
    (bundle.folder / artifacts.SERVING).write_text("{}")
    with pytest.raises(artifacts.BundleError, match=artifacts.SERVING):
        write_version(bundle, found, tmp_path, NOW)
    assert [path.name for path in tmp_path.iterdir()] == [bundle.folder.name]
