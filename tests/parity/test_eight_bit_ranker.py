"""The ranker in 8 bits: the same whole numbers in torch and ONNX Runtime, and nearly the logits of all."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from models.encode import CROSS
from models.export.eight_bit_ranker import LARGEST, ROUNDED, EightBitRanker
from models.export.graphs import blueprints, request_axes
from models.export.ranker_graphs import RankerGraph, sampled_ranges, serving_form
from models.export.samples import sample_candidates, sample_history, sample_query
from models.export.split_ranker import SplitRanker
from models.export.translate import TOLERANCE, Blueprint, translate
from models.graph import Graph
from models.networks.aw_moe import AwMoe
from models.training.networks import Networks
from tests.support.networks import CONFIG, SCHEMA, small_networks

Inputs = dict[str, np.ndarray]
DIM, QUERY = CONFIG.ranker.dim, CONFIG.tower.dim + 1
NEAR = 0.02
"""Of the largest logit: what 8 bits may lose, within the ranges that were measured."""


@pytest.fixture(scope="module")
def networks() -> Networks:
    networks = small_networks(seed=5)
    networks.ranker.standardise(torch.linspace(-1, 3, len(CROSS)), torch.linspace(0.5, 5, len(CROSS)))
    return networks


@pytest.fixture(scope="module")
def ranker(networks: Networks) -> AwMoe:
    return networks.ranker


@pytest.fixture(scope="module")
def rounded(ranker: AwMoe) -> EightBitRanker:
    form = serving_form(ranker, sampled_ranges(ranker, SCHEMA, requests=100))
    assert isinstance(form, EightBitRanker)
    return form.eval()


@pytest.fixture(scope="module")
def onnx_bytes(rounded: EightBitRanker) -> bytes:
    return translate(Blueprint("ranker", rounded, asked(7, 11), request_axes(), ("logit",))).onnx


@pytest.fixture(scope="module")
def graph(onnx_bytes: bytes) -> Graph:
    return Graph.open(onnx_bytes)


def asked(steps: int, count: int, seed: int = 0) -> Inputs:
    """A recommendation to a user with a full history."""
    random = np.random.default_rng(seed)
    inputs = sample_history(random, SCHEMA, DIM - 1, 1, steps) | sample_candidates(random, DIM - 1, count)
    return inputs | {"query": np.zeros_like(sample_query(random, QUERY))}


def told(module: torch.nn.Module, inputs: Inputs) -> np.ndarray:
    names = [name for name in module.forward.__annotations__ if name != "return"]
    with torch.no_grad():
        logits: np.ndarray = module(**{name: torch.from_numpy(inputs[name]) for name in names}).numpy()
    return logits


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    assert np.isfinite(found).all()
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("steps", [1, 12])
@pytest.mark.parametrize("count", [1, 2, 500])
def test_onnx_counts_as_torch_does(rounded, graph, steps, count):
    inputs = asked(steps, count)
    assert apart(graph.run(**inputs), told(rounded, inputs)) < ROUNDED


@pytest.mark.parametrize("name", ["events", "candidates", "cross"])
@pytest.mark.parametrize("size", [0.0, 1e-6, 1e4])
def test_both_are_as_large_as_they_can_be_beyond_the_ranges(rounded, graph, name, size):
    inputs = asked(steps=12, count=30)
    inputs[name] = inputs[name] * np.float32(size)
    assert apart(graph.run(**inputs), told(rounded, inputs)) < ROUNDED


def test_an_empty_history(rounded, graph):
    inputs = asked(steps=12, count=30)
    inputs["mask"] = np.zeros_like(inputs["mask"])
    assert apart(graph.run(**inputs), told(rounded, inputs)) < ROUNDED


@pytest.mark.parametrize("seed", range(5))
def test_logits_are_nearly_those_of_all_bits(ranker, graph, seed):
    inputs = asked(steps=12, count=100, seed=seed)
    exact = told(RankerGraph(ranker), inputs)
    assert 0 < apart(graph.run(**inputs), exact) < NEAR


def test_the_experts_are_what_is_compared(ranker, graph):
    """Without them the logits are much further apart than rounding brings them."""
    inputs = asked(steps=12, count=100)
    linear = (inputs["cross"] - ranker.cross_mean.numpy()) / ranker.cross_scale.numpy()
    linear = linear @ ranker.linear.weight.numpy()[0] + ranker.linear.bias.numpy()
    assert apart(linear, told(RankerGraph(ranker), inputs)) > 10 * NEAR


def test_an_items_logit_does_not_depend_on_the_other_candidates(graph):
    inputs = asked(steps=12, count=40)
    some = np.array([3, 17, 39])
    alone = inputs | {name: inputs[name][some] for name in ("candidates", "cross")}
    np.testing.assert_allclose(graph.run(**alone), graph.run(**inputs)[some], rtol=1e-5)


def test_two_products_fit_in_16_bits_on_every_cpu(onnx_bytes):
    weights = [numpy_helper.to_array(each) for each in onnx.load_from_string(onnx_bytes).graph.initializer]
    eights = [each for each in weights if each.dtype == np.int8 and each.ndim == 2]
    assert len(eights) == 2 + CONFIG.ranker.experts
    assert max(int(np.abs(each.astype(int)).max()) for each in eights) == LARGEST
    assert np.iinfo(np.int16).max >= 2 * 255 * LARGEST


def test_the_exported_graph_says_what_it_may_differ_by(networks, ranker):
    random = np.random.default_rng(0)
    plans = {each.name: each for each in blueprints(networks, SCHEMA, random, sampled_ranges(ranker, SCHEMA))}
    assert isinstance(plans["ranker"].module, EightBitRanker)
    assert plans["ranker"].tolerance == ROUNDED
    assert {each.tolerance for name, each in plans.items() if name != "ranker"} == {TOLERANCE}


def test_nothing_is_rounded_where_nobody_measured_or_queries_are_read(ranker):
    assert isinstance(serving_form(ranker), SplitRanker)
    assert not isinstance(serving_form(ranker), EightBitRanker)
    ranges = sampled_ranges(ranker, SCHEMA)
    searching = small_networks(seed=5).ranker
    searching.knows_queries.fill_(1.0)
    assert not isinstance(serving_form(searching, ranges), EightBitRanker)
