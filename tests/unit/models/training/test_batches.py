import numpy as np
import pytest
import torch
from torch import nn

from models.encode import History
from models.training.batches import Batch, Schedule, fit, in_blocks, one_cycle, shuffled


def batch() -> Batch:
    mask = np.array([[False, True], [True, True], [False, False]])
    rows = np.array([[0, 2], [1, 3], [0, 0]], np.int32)
    ints = np.arange(6, dtype=np.int64).reshape(3, 2)
    return Batch.of(History(rows, ints, ints, ints, mask, mask), np.ones((3, 1), np.int64))


def test_events_are_rows_of_the_table_and_zero_at_pads():
    table = torch.arange(8.0).reshape(4, 2) + 1
    events = batch().events(table)
    assert events.tolist() == [[[0, 0], [5, 6]], [[3, 4], [7, 8]], [[0, 0], [0, 0]]]


def test_gradients_reach_the_rows_that_were_read_and_no_other():
    table = torch.ones(4, 2, requires_grad=True)
    batch().events(table).sum().backward()
    assert table.grad[:, 0].tolist() == [0, 1, 1, 1]


def test_a_selection_keeps_the_columns_together():
    some = batch().at(torch.tensor([1, 0]))
    assert len(some) == 2
    assert some.rows.tolist() == [[1, 3], [0, 2]]
    assert some.mask.tolist() == [[True, True], [False, True]]


def test_an_epoch_is_every_index_once_in_the_seeds_order():
    generator = torch.Generator().manual_seed(3)
    batches = shuffled(10, 4, generator)
    assert [len(each) for each in batches] == [4, 4, 2]
    assert sorted(torch.cat(batches).tolist()) == list(range(10))
    again = shuffled(10, 4, torch.Generator().manual_seed(3))
    assert torch.cat(again).tolist() == torch.cat(batches).tolist()
    assert torch.cat(shuffled(10, 4, generator)).tolist() != torch.cat(batches).tolist()


def test_an_epoch_can_be_cut():
    assert len(torch.cat(shuffled(10, 4, torch.Generator(), at_most=5))) == 5


def test_blocks_cover_everything_once():
    assert [(b.start, b.stop) for b in in_blocks(7, 3)] == [(0, 3), (3, 6), (6, 7)]
    assert list(in_blocks(0, 3)) == []


def test_the_rate_rises_for_a_tenth_and_falls_to_nothing():
    rates = [one_cycle(step, 100) for step in range(100)]
    assert np.argmax(rates) == 10
    assert rates[10] == pytest.approx(1.0)
    assert (np.diff(rates[:11]) > 0).all()
    assert (np.diff(rates[10:]) < 0).all()
    assert 0 < rates[0] < 0.2
    assert rates[-1] < 0.001


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_training_has_a_rate(steps):
    assert all(0 < one_cycle(step, steps) <= 1 for step in range(steps))


class TestFit:
    def setup_method(self) -> None:
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.zeros(3))
        self.goal = torch.tensor([1.0, -2.0, 0.5])

    def loss(self, index: torch.Tensor) -> torch.Tensor:
        return (self.weight - self.goal).square().sum() + 0.0 * index.sum()

    def test_it_minimises_and_tells_the_mean_loss_of_each_epoch(self):
        told = fit(
            "a test",
            [self.weight],
            Schedule(epochs=20, learning_rate=0.1),
            lambda epoch: shuffled(40, 8, torch.Generator().manual_seed(epoch)),
            self.loss,
        )
        assert len(told) == 20
        assert told[-1] < 0.01 * told[0]
        torch.testing.assert_close(self.weight.detach(), self.goal, atol=0.05, rtol=0)

    def test_it_looks_after_each_epoch(self):
        epochs = []
        fit(
            "a test",
            [self.weight],
            Schedule(3, 0.1),
            lambda epoch: shuffled(4, 2, torch.Generator()),
            self.loss,
            lambda epoch: epochs.append(epoch) or "",
        )
        assert epochs == [0, 1, 2]

    def test_one_huge_gradient_does_not_carry_it_away(self):
        fit(
            "a test",
            [self.weight],
            Schedule(1, 0.1),
            lambda epoch: [torch.tensor([0])],
            lambda index: 1e9 * self.loss(index),
        )
        assert self.weight.abs().max() < 1
