"""The four ONNX graphs of a bundle compute what torch computes, whatever the shapes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from models.export.graphs import blueprints
from models.export.samples import sample_candidates, sample_history, sample_query, sample_tokens
from models.training.run_folder import Run, read_run
from service.bundle import Bundle
from tests.support.trained import TrainedWorld

Inputs = dict[str, np.ndarray]

RTOL, ATOL = 1e-4, 1e-4
LENGTH = 12
KEPT = ("profile", "query", "candidates", "cross")
"""Inputs that are not about events."""


@pytest.fixture(scope="module")
def run(trained_world: TrainedWorld) -> Run:
    return read_run(trained_world.run)


@pytest.fixture(scope="module")
def bundle(trained_world: TrainedWorld) -> Bundle:
    return Bundle.open(trained_world.bundle)


@pytest.fixture(scope="module")
def both(run: Run, bundle: Bundle) -> Callable[[str, Inputs], tuple[Inputs, Inputs]]:
    """Answers of torch and of ONNX Runtime by the name of a graph."""
    plans = blueprints(run.networks, run.schema, np.random.default_rng(0), run.ranges)
    modules = {each.name: each for each in plans}

    def answers(name: str, inputs: Inputs) -> tuple[Inputs, Inputs]:
        graph, blueprint = bundle.graphs[name], modules[name]
        with torch.no_grad():
            told = blueprint.module(**{key: torch.from_numpy(inputs[key]) for key in graph.inputs})
        told = told if isinstance(told, tuple) else (told,)
        by_torch = dict(zip(blueprint.outputs, (each.numpy() for each in told), strict=True))
        return by_torch, graph.run_all(**inputs)

    return answers


def equal(pair: tuple[Inputs, Inputs]) -> None:
    by_torch, by_onnx = pair
    assert by_torch.keys() == by_onnx.keys()
    for name, expected in by_torch.items():
        assert np.isfinite(expected).all(), name
        np.testing.assert_allclose(by_onnx[name], expected, rtol=RTOL, atol=ATOL, err_msg=name)


def emptied(inputs: Inputs) -> Inputs:
    return {key: value if key in KEPT else np.zeros_like(value) for key, value in inputs.items()}


def history(run: Run, dim: int, users: int, steps: int) -> Inputs:
    return sample_history(np.random.default_rng(users * 100 + steps), run.schema, dim, users, steps)


def ranked(run: Run, steps: int, count: int) -> Inputs:
    dim = run.networks.rank_items.dim - 1
    random = np.random.default_rng(count)
    query = sample_query(random, run.networks.ranker.query.in_features)
    return history(run, dim, 1, steps) | sample_candidates(random, dim, count) | {"query": query}


@pytest.mark.parametrize("name", ["user_tower", "preranker"])
@pytest.mark.parametrize("users", [1, 2, 17])
@pytest.mark.parametrize("steps", [1, 2, 5, LENGTH])
def test_users_at_any_batch_and_length(run, both, name, users, steps):
    dim = (run.networks.items if name == "user_tower" else run.networks.prerank_items).dim
    inputs = history(run, dim, users, steps)
    equal(both(name, inputs))
    equal(both(name, emptied(inputs)))


@pytest.mark.parametrize("steps", [1, 2, 5, LENGTH])
@pytest.mark.parametrize("count", [1, 2, 30, 200])
def test_the_ranker_at_any_length_and_number_of_candidates(run, both, steps, count):
    for name in ("ranker", "ranker_explain"):
        equal(both(name, ranked(run, steps, count)))
        equal(both(name, emptied(ranked(run, steps, count))))


@pytest.mark.parametrize("count", [1, 2, 64])
def test_the_item_towers_at_any_number_of_items(run, both, count):
    tokens = sample_tokens(np.random.default_rng(count), run.schema.item_fields, count)
    equal(both("item_towers", {"tokens": tokens}))
    equal(both("item_towers", {"tokens": np.zeros_like(tokens)}))


@pytest.mark.parametrize("name", ["user_tower", "preranker"])
def test_a_batch_of_users_is_its_single_users(run, bundle, name):
    dim = (run.networks.items if name == "user_tower" else run.networks.prerank_items).dim
    inputs = history(run, dim, 9, LENGTH)
    together = bundle.graphs[name].run(**inputs)
    for b in range(9):
        alone = bundle.graphs[name].run(**{key: value[b : b + 1] for key, value in inputs.items()})
        np.testing.assert_allclose(alone[0], together[b], rtol=RTOL, atol=ATOL)


def test_candidates_together_are_candidates_alone(run, bundle):
    inputs = ranked(run, LENGTH, 25)
    together = bundle.ranker.run(**inputs)
    for n in range(25):
        one = {key: inputs[key][n : n + 1] for key in ("candidates", "cross")}
        np.testing.assert_allclose(bundle.ranker.run(**inputs | one)[0], together[n], rtol=RTOL, atol=ATOL)


def test_items_together_are_items_alone(run, bundle):
    tokens = sample_tokens(np.random.default_rng(5), run.schema.item_fields, 12)
    together = bundle.item_towers.run_all(tokens=tokens)
    for n in range(12):
        for name, alone in bundle.item_towers.run_all(tokens=tokens[n : n + 1]).items():
            np.testing.assert_allclose(alone[0], together[name][n], rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("name", ["user_tower", "preranker", "ranker"])
def test_padding_changes_no_answer(run, bundle, name):
    inputs = ranked(run, 5, 7) if name == "ranker" else history(run, run.networks.items.dim, 3, 5)
    grown = {
        key: value if key in KEPT else np.concatenate([np.zeros_like(value), value], axis=1)
        for key, value in inputs.items()
    }
    graph = bundle.graphs[name]
    np.testing.assert_allclose(graph.run(**grown), graph.run(**inputs), rtol=RTOL, atol=ATOL)


def test_the_tables_are_what_the_towers_give(run, bundle):
    networks = run.networks
    with torch.no_grad():
        for rows, table, rtol in (
            (networks.items.all(), bundle.item_vectors, 2**-10),
            (networks.prerank_items.all(), bundle.prerank_vectors, 2**-10),
            (networks.ranker.items(networks.rank_items.all()), bundle.rank_vectors, 2**-10),
        ):
            np.testing.assert_allclose(table, rows.numpy(), rtol=rtol, atol=1e-6)
