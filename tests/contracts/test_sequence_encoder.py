"""What every sequence encoder must do; a new name in `ENCODERS` is under this contract by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.export.translate import Blueprint, translate
from models.graph import Graph
from models.networks.encoders import ENCODERS
from models.training.config import TowerConfig
from models.training.tower import Towers, train_towers
from tests.support.simulated import simulated_world

DIM, LENGTH, BATCH = 16, 12, 5


@pytest.fixture(params=sorted(ENCODERS))
def name(request) -> str:
    return request.param


@pytest.fixture
def encoder(name) -> torch.nn.Module:
    torch.manual_seed(1)
    module = ENCODERS[name](DIM, 2, 2, LENGTH, 0.3).eval()
    for parameter in module.parameters():  # what starts at zero must matter, too
        parameter.data += 0.1 * torch.randn_like(parameter)
    return module.requires_grad_(False)


def events(steps: int = LENGTH, batch: int = BATCH, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, steps, DIM, generator=torch.Generator().manual_seed(seed))


def all_real(steps: int = LENGTH, batch: int = BATCH) -> torch.Tensor:
    return torch.ones(batch, steps, dtype=torch.bool)


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("place", range(1, LENGTH))
def test_no_place_reads_a_later_one(encoder, place):
    x = events()
    changed = x.clone()
    changed[:, place:] = events(seed=9)[:, place:]
    before, after = encoder(x, all_real()), encoder(changed, all_real())
    assert close(before[:, :place], after[:, :place])
    assert not close(before[:, place], after[:, place])


def test_the_last_place_reads_every_earlier_one(encoder):
    x = events()
    for place in range(LENGTH):
        changed = x.clone()
        changed[:, place] = events(seed=9)[:, place]
        assert not close(encoder(x, all_real())[:, -1], encoder(changed, all_real())[:, -1]), place


@pytest.mark.parametrize("steps", range(1, LENGTH))
def test_padding_on_the_left_changes_nothing_at_real_places(encoder, steps):
    x = events(steps)
    padded = torch.cat([torch.zeros(BATCH, LENGTH - steps, DIM), x], dim=1)
    mask = torch.arange(LENGTH).expand(BATCH, -1) >= LENGTH - steps
    assert close(encoder(padded, mask)[:, -steps:], encoder(x, all_real(steps)))


def test_what_stands_in_the_padding_is_never_read(encoder):
    mask = torch.arange(LENGTH).expand(BATCH, -1) >= 7
    x = events()
    rubbish = torch.where(mask.unsqueeze(-1), x, 100.0)
    assert close(encoder(x, mask)[:, 7:], encoder(rubbish, mask)[:, 7:])


@pytest.mark.parametrize("steps", [1, 2, LENGTH])
def test_an_empty_history_gives_finite_values(encoder, steps):
    assert encoder(torch.zeros(BATCH, steps, DIM), ~all_real(steps)).isfinite().all()


@pytest.mark.parametrize("steps", [1, 2, LENGTH])
@pytest.mark.parametrize("padded", [0, 1, 7, LENGTH])
def test_the_whole_is_the_last_place(encoder, steps, padded):
    mask = torch.arange(steps).expand(BATCH, -1) >= padded
    x = events(steps)
    whole = encoder.whole(x, mask)
    assert whole.shape == (BATCH, 1, DIM)
    assert close(whole, encoder(x, mask)[:, -1:])


@pytest.mark.parametrize("steps", [1, LENGTH])
def test_the_shortest_and_the_longest_history_keep_their_shape(encoder, steps):
    encoded = encoder(events(steps), all_real(steps))
    assert encoded.shape == (BATCH, steps, DIM)
    assert encoded.isfinite().all()


def test_a_batch_is_its_singles(encoder):
    x = events()
    mask = torch.arange(LENGTH) >= torch.arange(BATCH)[:, None] * 3
    together = encoder(x, mask)
    for b in range(BATCH):
        alone = encoder(x[b : b + 1], mask[b : b + 1])
        assert close(together[b : b + 1][mask[b : b + 1]], alone[mask[b : b + 1]])


def test_dropout_is_for_training_only(encoder):
    assert torch.equal(encoder(events(), all_real()), encoder(events(), all_real()))
    encoder.train()
    assert not torch.equal(encoder(events(), all_real()), encoder(events(), all_real()))


def test_every_weight_learns(name):
    torch.manual_seed(1)
    module = ENCODERS[name](DIM, 2, 2, LENGTH, 0.0)
    encoded = module(events(), all_real())
    (encoded * torch.randn_like(encoded)).sum().backward()
    assert [key for key, weight in module.named_parameters() if not weight.grad.abs().sum() > 0] == []


def test_it_exports_with_any_batch_and_length_and_equals_torch(encoder):
    batch, steps = torch.export.Dim("batch", max=1 << 16), torch.export.Dim("steps", max=LENGTH)
    recorded = {"x": events(7, 3).numpy(), "mask": all_real(7, 3).numpy()}
    axes = {key: {0: batch, 1: steps} for key in recorded}
    graph = Graph.open(translate(Blueprint("encoder", encoder, recorded, axes, ("encoded",))).onnx)
    for users, length, first in [(1, 1, 0), (1, LENGTH, 0), (4, 5, 2), (2, LENGTH, LENGTH), (1, 1, 1)]:
        x = events(length, users, seed=length)
        mask = torch.arange(length).expand(users, -1) >= first
        expected = encoder(x, mask).numpy()
        answer = graph.run(x=x.numpy(), mask=mask.numpy())
        np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-5)


def learn(name: str, seed: int) -> Towers:
    world = simulated_world()
    config = TowerConfig(encoder=name, dim=16, layers=1, epochs=3, batch=32, learning_rate=0.01, dropout=0.1)
    return train_towers(world.features, world.split.train, world.validation, config, seed)


def test_it_learns_what_the_simulator_planted_and_repeats_with_its_seed(name):
    world = simulated_world()
    one, same, other = learn(name, 0), learn(name, 0), learn(name, 1)

    assert one.best > 3 * world.popularity_ndcg(world.validation)
    queries = one.user_vectors(world.features.batch(world.test))
    assert world.ndcg(world.test, queries, one.item_vectors()) > 3 * world.popularity_ndcg(world.test)

    assert one.best == same.best
    np.testing.assert_array_equal(one.item_vectors(), same.item_vectors())
    np.testing.assert_array_equal(queries, same.user_vectors(world.features.batch(world.test)))
    assert not np.allclose(one.item_vectors(), other.item_vectors())
