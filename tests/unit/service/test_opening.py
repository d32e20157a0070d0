from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.metrics import Metrics
from service.opening import open_engine, warm_up
from service.settings import Settings
from tests.support.tiny_bundle import write_tiny_bundle


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Nothing is freed but what nobody refers to."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
def test_a_bundle_goes_with_the_last_one_who_uses_it(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path)
    engine = open_engine(Settings(bundles=tmp_path), Metrics())
    warm_up(engine, 12)
    assert engine.catalogue.rules.mask({"field": "year", "op": ">=", "value": 1990}).any()
    assert engine.catalogue.rules.factors(
        [{"filter": {"field": "year", "op": ">=", "value": 1990}, "factor": 2.0}]
    ).any()
    bundle, catalogue = weakref.ref(engine.bundle), weakref.ref(engine.catalogue)
    del engine
    assert bundle() is None, "its memory maps would stay until a collection"
    assert catalogue() is None
