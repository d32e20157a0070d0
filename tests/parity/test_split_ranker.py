"""The ranker that is exported computes what the formulas say, on ordinary and on extreme requests."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.encode import CROSS
from models.export.graphs import blueprints
from models.export.ranker_graphs import RankerGraph, serving_form
from models.export.samples import sample_candidates, sample_history, sample_query
from models.export.split_ranker import SplitRanker
from models.export.translate import translate
from models.graph import Graph
from models.networks.aw_moe import FORMS, AwMoe
from models.networks.aw_moe_plain import PlainAwMoe
from tests.support.networks import CONFIG, SCHEMA, small_networks

Inputs = dict[str, np.ndarray]
TOLERANCE = 1e-4
DIM, QUERY = CONFIG.ranker.dim, CONFIG.tower.dim + 1
EVENTS = ("events", "kind", "gap", "age", "recent", "mask")


def ranker(knows_queries: bool) -> AwMoe:
    network = small_networks(seed=5).ranker
    network.standardise(torch.linspace(-1, 3, len(CROSS)), torch.linspace(0.1, 5, len(CROSS)))
    network.knows_queries.fill_(knows_queries)
    return network


@pytest.fixture(scope="module", params=[True, False], ids=["knows queries", "knows none"])
def both(request) -> tuple[PlainAwMoe, Graph]:
    """The formulas in torch, and the exported graph in ONNX Runtime."""
    network = ranker(request.param)
    networks = small_networks(seed=5)
    networks.ranker.load_state_dict(network.state_dict())
    plans = {each.name: each for each in blueprints(networks, SCHEMA, np.random.default_rng(0))}
    assert isinstance(plans["ranker"].module, SplitRanker)
    return PlainAwMoe(network), Graph.open(translate(plans["ranker"]).onnx)


def asked(steps: int, count: int, events: int | None = None, seed: int = 0) -> Inputs:
    """A search with `events` of `steps` places filled, all by default."""
    random = np.random.default_rng(seed)
    inputs = sample_history(random, SCHEMA, DIM - 1, 1, steps)
    empty = np.arange(steps) < steps - (steps if events is None else events)
    for name in EVENTS:
        inputs[name] = np.where(empty.reshape(1, -1, *[1] * (inputs[name].ndim - 2)), 0, inputs[name])
        inputs[name] = inputs[name].astype(bool if name in ("mask", "recent") else inputs[name].dtype)
    inputs["mask"] = ~empty[None]
    return inputs | sample_candidates(random, DIM - 1, count) | {"query": sample_query(random, QUERY)}


def difference(both: tuple[PlainAwMoe, Graph], inputs: Inputs) -> float:
    """The largest, relative to the largest logit."""
    plain, graph = both
    names = [name for name in PlainAwMoe.forward.__annotations__ if name != "return"]
    with torch.no_grad():
        expected = plain(**{name: torch.from_numpy(inputs[name]) for name in names}).numpy()
    found = graph.run(**inputs)
    assert found.shape == expected.shape == (len(inputs["candidates"]),)
    assert np.isfinite(expected).all()
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-3))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("searching", [True, False])
def test_at_random(both, seed, searching):
    inputs = asked(steps=9, count=40, events=6, seed=seed)
    inputs["query"] *= searching
    assert difference(both, inputs) < TOLERANCE


@pytest.mark.parametrize("searching", [True, False])
@pytest.mark.parametrize("count", [1, 2, 1000])
@pytest.mark.parametrize("steps", [1, 12])
@pytest.mark.parametrize("events", [0, 1, None], ids=["no event", "one event", "full"])
def test_at_every_extreme_of_size(both, steps, count, events, searching):
    inputs = asked(steps, count, events)
    inputs["query"] *= searching
    assert difference(both, inputs) < TOLERANCE


@pytest.mark.parametrize("name", ["events", "candidates", "cross", "query"])
@pytest.mark.parametrize("size", [0.0, 1e-6, 1e4])
def test_at_every_extreme_of_value(both, name, size):
    inputs = asked(steps=12, count=30)
    inputs[name] = inputs[name] * np.float32(size)
    assert difference(both, inputs) < TOLERANCE


def test_the_comparison_has_teeth(both):
    plain, graph = both
    inputs = asked(steps=12, count=30)
    other = asked(steps=12, count=30, seed=1)
    for name in ("events", "kind", "gap", "age", "profile", "candidates", "cross"):
        assert np.abs(graph.run(**inputs | {name: other[name]}) - graph.run(**inputs)).max() > 1e-3, name
    turned = np.abs(graph.run(**inputs | {"query": -inputs["query"]}) - graph.run(**inputs)).max()
    assert (turned > 1e-3) == bool(plain.ranker.knows_queries)


def test_the_trained_form_is_the_plain_one():
    network, inputs = ranker(knows_queries=True), asked(steps=12, count=30)
    with torch.no_grad():
        tensors = {
            name: torch.from_numpy(inputs[name])
            for name in PlainAwMoe.forward.__annotations__
            if name != "return"
        }
        torch.testing.assert_close(
            RankerGraph(network)(**tensors), PlainAwMoe(network)(**tensors), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("kind", sorted(set(FORMS) - {"aw-moe"}))
def test_other_forms_are_exported_as_they_were_trained(kind):
    network = small_networks(seed=5).ranker
    sizes = (DIM, 3, (12, 8), 5, len(CROSS), QUERY)
    other = AwMoe(SCHEMA, *sizes, 0.0, FORMS[kind]).eval()
    assert isinstance(serving_form(other), RankerGraph)
    assert isinstance(serving_form(network), SplitRanker)
