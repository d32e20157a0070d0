import numpy as np
import pytest
import torch
from torch import nn

from models.encode import History
from models.training.batches import (
    Batch,
    Schedule,
    by_length,
    first_used,
    fit,
    in_blocks,
    one_cycle,
    shuffled,
)


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


class TestByLength:
    LENGTHS = torch.from_numpy(np.random.default_rng(0).integers(1, 50, 1003))

    def epoch(self, seed: int = 5, size: int = 16) -> list[torch.Tensor]:
        return by_length(self.LENGTHS, size, torch.Generator().manual_seed(seed))

    def test_an_epoch_is_every_index_once(self):
        assert sorted(torch.cat(self.epoch()).tolist()) == list(range(1003))

    @pytest.mark.parametrize("count", [1, 15, 16, 17, 320, 321, 1003])
    def test_every_epoch_has_as_many_batches(self, count):
        generator = torch.Generator().manual_seed(0)
        epochs = [by_length(self.LENGTHS[:count], 16, generator) for _ in range(3)]
        assert [len(each) for each in epochs] == [-(-count // 16)] * 3
        assert max(len(batch) for batch in epochs[0]) <= 16

    def test_a_batch_has_histories_of_about_one_length(self):
        spread = [float(np.ptp(self.LENGTHS[batch].numpy())) for batch in self.epoch()]
        of_any = [float(np.ptp(self.LENGTHS[b].numpy())) for b in shuffled(1003, 16, torch.Generator())]
        assert np.mean(spread) < 0.2 * np.mean(of_any)

    def test_neither_long_nor_short_batches_come_first(self):
        means = [float(self.LENGTHS[batch].float().mean()) for batch in self.epoch()]
        assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.4

    def test_the_generator_repeats_it_and_epochs_differ(self):
        assert torch.cat(self.epoch(5)).tolist() == torch.cat(self.epoch(5)).tolist()
        generator = torch.Generator().manual_seed(5)
        one = by_length(self.LENGTHS, 16, generator)
        other = by_length(self.LENGTHS, 16, generator)
        assert torch.cat(one).tolist() != torch.cat(other).tolist()


class TestShortened:
    def test_the_first_column_that_anybody_uses(self):
        used = torch.tensor([[False, False, True, True], [False, True, False, True]])
        assert first_used(used) == 1
        assert first_used(used[:1]) == 2
        assert first_used(torch.ones(2, 4, dtype=torch.bool)) == 0

    def test_where_nothing_is_used_one_column_stays(self):
        assert first_used(torch.zeros(2, 4, dtype=torch.bool)) == 3

    def test_every_sequence_is_cut_and_profiles_stay(self):
        cut = batch().shortened(1)
        assert cut.rows.tolist() == [[2], [3], [0]]
        assert cut.kind.tolist() == cut.gap.tolist() == cut.age.tolist() == [[1], [3], [5]]
        assert cut.mask.tolist() == cut.recent.tolist() == [[True], [True], [False]]
        assert cut.profile.shape == (3, 1)
        assert len(cut) == 3
