"""The soak of `cascada bench soak` in short: nothing grows without end under mixed load."""

from __future__ import annotations

import pytest

from benchmarks.mix import Cast
from benchmarks.soak import judged
from benchmarks.soaking import Soaked, soaked
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import ITEMS, TASTES, USERS

ALLOWED = {
    "RSS MB": (0.1, 20.0),
    "descriptors": (0.1, 5.0),
    "Redis keys": (0.1, 30.0),
    "Redis MB": (0.2, 1.0),
}
"""None of them depends on how fast the machine is."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Soaked:
    folder = tmp_path_factory.mktemp("soak")
    bundles = [write_tiny_bundle(folder / "bundles", version) for version in ("tiny-1", "tiny-2")]
    people = Cast(
        users=[f"u{number}" for number in range(USERS)],
        items=[f"item-{row}" for row in range(ITEMS) if row != 7],
        texts=[f"the {taste}" for taste in TASTES],
        event="view",
        attributes={"genres": ["drama"], "year": 1990},
    )
    return soaked(bundles, people, 24.0, folder / "log", rate=40.0, history=20, exposures=5)


def test_every_call_is_answered(found: Soaked) -> None:
    assert found.failed == {}
    assert found.degraded == 0
    assert found.calls > 800
    assert not found.swappable or len(found.swaps) > 5


def test_nothing_grows_without_end(found: Soaked) -> None:
    assert len(found.series["minutes"]) == 24
    rows = judged(found, ALLOWED)
    assert [row for row in rows if row["verdict"] == "rises"] == []
