"""What every retrieval loss must do; a new name in `RETRIEVAL_LOSSES` is under this contract by itself."""

from __future__ import annotations

import math

import pytest
import torch

from models.training.config import TowerConfig
from models.training.losses import FULL_SOFTMAX_LIMIT, RETRIEVAL_LOSSES, FullSoftmax, retrieval_loss, scores
from models.training.tower import train_towers
from tests.support.simulated import simulated_world

ITEMS, DIM, BATCH = 50, 6, 8


@pytest.fixture(params=sorted(RETRIEVAL_LOSSES))
def name(request) -> str:
    return request.param


def loss(name: str, negatives: int = 400):
    return retrieval_loss(name, torch.ones(ITEMS), negatives)


def planted(sharpness: float = 5.0):
    """A table, and queries that point at their targets."""
    generator = torch.Generator().manual_seed(0)
    table = torch.nn.functional.normalize(torch.randn(ITEMS, DIM, generator=generator), dim=-1)
    targets = torch.randperm(ITEMS, generator=generator)[:BATCH]
    return sharpness * table[targets], table, targets


def test_pointing_at_the_target_costs_less_than_pointing_elsewhere(name):
    queries, table, targets = planted()
    torch.manual_seed(0)
    good = loss(name)(queries, table, targets)
    bad = loss(name)(-queries, table, targets)
    assert 0 <= good < bad
    assert good.shape == ()


def test_sharper_is_better_when_right(name):
    torch.manual_seed(0)
    values = [loss(name)(*planted(sharpness)).item() for sharpness in (0.0, 5.0, 50.0)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.05


def test_a_query_that_knows_nothing_costs_the_log_of_the_catalogue(name):
    """With logQ correction a sample estimates the whole catalogue's softmax."""
    torch.manual_seed(0)
    _, table, targets = planted()
    value = loss(name, negatives=5000)(torch.zeros(BATCH, DIM), table, targets).item()
    assert value == pytest.approx(math.log(ITEMS), abs=0.25)


def test_of_several_interests_the_best_one_counts(name):
    queries, table, targets = planted()
    both = torch.stack([-queries, queries], dim=1)
    torch.manual_seed(0)
    single = loss(name)(queries, table, targets)
    torch.manual_seed(0)
    several = loss(name)(both, table, targets)
    torch.manual_seed(0)
    worst = loss(name)(-queries, table, targets)
    # The other interest only adds competition among the negatives.
    assert single <= several < worst


def test_gradients_move_the_query_and_the_target_together(name):
    queries, table, targets = planted(1.0)
    queries.requires_grad_()
    table.requires_grad_()
    torch.manual_seed(0)
    loss(name)(queries, table, targets).backward()
    assert queries.grad.isfinite().all()
    assert table.grad.isfinite().all()
    moved = torch.stack([table.grad[target] @ queries[row].detach() for row, target in enumerate(targets)])
    assert (moved < 0).all()


def test_one_query_and_repeated_targets_are_fine(name):
    queries, table, targets = planted()
    assert loss(name)(queries[:1], table, targets[:1]).isfinite()
    assert loss(name)(queries[:1].expand(4, -1), table, targets[:1].expand(4)).isfinite()


def test_an_item_that_training_never_saw_has_a_finite_loss(name):
    queries, table, targets = planted()
    frequency = torch.ones(ITEMS)
    frequency[targets] = 0
    assert retrieval_loss(name, frequency, 10)(queries, table, targets).isfinite()
    assert retrieval_loss(name, torch.zeros(ITEMS), 10)(queries, table, targets).isfinite()


def test_it_teaches_the_tower_to_beat_popularity(name):
    world = simulated_world()
    config = TowerConfig(
        encoder="mean", loss=name, dim=16, epochs=3, batch=32, learning_rate=0.01, negatives=60
    )
    towers = train_towers(world.features, world.split.train, world.validation, config, seed=0)
    queries = towers.user_vectors(world.features.batch(world.test))
    assert world.ndcg(world.test, queries, towers.item_vectors()) > 3 * world.popularity_ndcg(world.test)


def test_auto_is_exact_where_the_catalogue_is_small():
    assert isinstance(retrieval_loss("auto", torch.ones(FULL_SOFTMAX_LIMIT), 10), FullSoftmax)
    assert not isinstance(retrieval_loss("auto", torch.ones(FULL_SOFTMAX_LIMIT + 1), 10), FullSoftmax)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="unknown loss 'magic'; known are full-softmax, sampled-softmax"):
        retrieval_loss("magic", torch.ones(3), 1)


def test_scores_of_several_interests_are_the_best_ones():
    queries = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    table = torch.tensor([[3.0, 1.0], [0.0, 2.0], [-1.0, -4.0]])
    assert scores(queries, table).tolist() == [[3.0, 2.0, -1.0]]
