"""What a bundle's graphs may differ by from what was recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.artifacts import BundleError
from models.export.graphs import blueprints
from models.export.ranker_graphs import sampled_ranges
from models.export.translate import Exported, translate
from models.graph import Graph
from service.parity import check_parity
from tests.support.networks import SCHEMA, small_networks


@pytest.fixture(scope="module")
def ranker() -> Exported:
    """One in 8 bits."""
    networks = small_networks(seed=5)
    ranges = sampled_ranges(networks.ranker, SCHEMA)
    plans = blueprints(networks, SCHEMA, np.random.default_rng(0), ranges)
    return translate(next(each for each in plans if each.name == "ranker"))


def checked(folder: Path, ranker: Exported, off: float, **more: float) -> None:
    """Compare the graph with an answer that is `off` by so much of the largest logit."""
    logit = ranker.outputs["logit"]
    recorded = {f"ranker/{name}": value for name, value in ranker.inputs.items()}
    recorded["ranker/logit"] = logit + np.float32(off) * np.abs(logit).max()
    np.savez(folder / "parity.npz", **recorded, **{f"ranker/{name}": value for name, value in more.items()})
    check_parity(folder / "parity.npz", {"ranker": Graph.open(ranker.onnx)})


def test_a_graph_that_rounds_says_what_it_may_differ_by(ranker: Exported, tmp_path: Path) -> None:
    checked(tmp_path, ranker, 0.0)
    checked(tmp_path, ranker, 0.8 * ranker.tolerance, tolerance=ranker.tolerance)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_it_is_refused_beyond_that(ranker: Exported, tmp_path: Path, sign: float) -> None:
    with pytest.raises(BundleError, match="ranker/logit differs from what was recorded"):
        checked(tmp_path, ranker, sign * 1.2 * ranker.tolerance, tolerance=ranker.tolerance)


def test_a_graph_that_says_nothing_is_held_to_less(ranker: Exported, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="ranker/logit differs"):
        checked(tmp_path, ranker, 0.8 * ranker.tolerance)
