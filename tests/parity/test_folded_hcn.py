"""The exported pre-ranker computes what the network that was trained computes, in every form of it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from models.export.folded_hcn import FoldedHcn
from models.export.graphs import blueprints
from models.export.samples import sample_history
from models.export.translate import Blueprint, translate
from models.graph import Graph
from models.networks.hcn import Hcn
from tests.support.networks import SCHEMA, small_networks

Inputs = dict[str, np.ndarray]
TOLERANCE = 1e-4
DIM = 12
FORMS = {
    "as shipped": {"iterations": 2, "hierarchy": "none"},
    "one level": {"iterations": 1},
    "what is left": {"hierarchy": "residual"},
    "weighted": {"hierarchy": "weighted"},
    "long alone": {"co_interest": False, "hierarchy": "none"},
    "long alone, what is left": {"co_interest": False, "hierarchy": "residual"},
    "one interest": {"interests": 1, "hierarchy": "weighted"},
    "one head": {"heads": 1},
}


@pytest.fixture(scope="module", params=FORMS)
def both(request) -> tuple[Hcn, Graph]:
    """A network whose every weight is moved from its start, and its exported form."""
    torch.manual_seed(0)
    form = {"interests": 4, "iterations": 3, "heads": 3, "dropout": 0.2, "temperature": 0.07}
    network = Hcn(SCHEMA, DIM, **form | FORMS[request.param]).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter += 0.2 * torch.randn_like(parameter)
    plans = {each.name: each for each in blueprints(small_networks(), SCHEMA, np.random.default_rng(0))}
    axes = plans["preranker"].axes
    plan = Blueprint("preranker", FoldedHcn(network), asked(3, 7), axes, ("interests",))
    return network, Graph.open(translate(plan).onnx)


def asked(users: int, steps: int, seed: int = 0) -> Inputs:
    return sample_history(np.random.default_rng(seed), SCHEMA, DIM, users, steps)


def check(both: tuple[Hcn, Graph], inputs: Inputs) -> None:
    network, graph = both
    expected = network(**{name: torch.from_numpy(values) for name, values in inputs.items()}).numpy()
    assert np.isfinite(expected).all()
    found = graph.run(**inputs)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize("users", [1, 2, 9])
@pytest.mark.parametrize("steps", [1, 2, 13, 50])
def test_at_any_batch_and_length(both, users, steps):
    for seed in range(3):
        check(both, asked(users, steps, seed))


def test_without_any_event(both):
    inputs = asked(2, 5)
    check(both, {key: value if key == "profile" else np.zeros_like(value) for key, value in inputs.items()})


def test_without_a_last_session(both):
    inputs = asked(3, 9)
    check(both, inputs | {"recent": np.zeros_like(inputs["recent"])})


def test_what_lies_at_pads_is_not_read(both):
    inputs = asked(3, 9)
    noise = np.where(inputs["mask"], inputs["kind"], 1)
    check(both, inputs | {"kind": noise, "gap": np.where(inputs["mask"], inputs["gap"], 5)})


def test_the_bundle_has_that_form_in_less_than_half_the_nodes():
    network = small_networks().preranker
    plans = {each.name: each for each in blueprints(small_networks(), SCHEMA, np.random.default_rng(0))}
    folded = plans["preranker"]
    assert isinstance(folded.module, FoldedHcn)
    plain = Blueprint("preranker", network, folded.recorded, folded.axes, folded.outputs)
    few, many = (len(onnx.load_from_string(translate(plan).onnx).graph.node) for plan in (folded, plain))
    assert 2 * few < many
