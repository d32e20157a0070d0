"""What every ranker loss must do; a new name in `RANKER_LOSSES` is under this contract by itself."""

from __future__ import annotations

import math

import pytest
import torch

from models.training.ranker_losses import RANKER_LOSSES, contrast

LISTS, CANDIDATES = 6, 9


@pytest.fixture(params=sorted(RANKER_LOSSES))
def loss(request):
    return RANKER_LOSSES[request.param]


def logits(seed: int = 0) -> torch.Tensor:
    return torch.randn(LISTS, CANDIDATES, generator=torch.Generator().manual_seed(seed))


def lifted(values: torch.Tensor, by: float) -> torch.Tensor:
    """The same, the positive candidate's logit raised."""
    return torch.cat([values[:, :1] + by, values[:, 1:]], dim=1)


def test_a_higher_positive_costs_less(loss):
    values = [loss(lifted(logits(), by)).item() for by in (-3.0, 0.0, 3.0, 30.0)]
    assert values == sorted(values, reverse=True)
    assert values[-1] >= 0


def test_a_higher_negative_costs_more(loss):
    worse = logits()
    worse[:, 4] += 2.0
    assert loss(worse) > loss(logits())


def test_a_perfect_answer_costs_nothing(loss):
    perfect = torch.full((LISTS, CANDIDATES), -40.0)
    perfect[:, 0] = 40.0
    assert loss(perfect).item() == pytest.approx(0.0, abs=1e-6)


def test_the_order_of_the_negatives_does_not_matter(loss):
    shuffled = logits()[:, [0, 8, 2, 1, 5, 4, 3, 7, 6]]
    assert loss(shuffled).item() == pytest.approx(loss(logits()).item(), rel=1e-6)


def test_gradients_raise_the_positive_and_lower_the_negatives(loss):
    values = logits().requires_grad_()
    loss(values).backward()
    assert (values.grad[:, 0] < 0).all()
    assert (values.grad[:, 1:] > 0).all()


def test_extreme_logits_stay_finite(loss):
    for by in (-1e4, 1e4):
        value = lifted(logits(), by).requires_grad_()
        loss(value).backward()
        assert value.grad.isfinite().all()


def test_repeating_a_list_does_not_change_the_mean(loss):
    assert loss(logits().repeat(3, 1)).item() == pytest.approx(loss(logits()).item(), rel=1e-5)


class TestContrast:
    users = torch.tensor([4, 4, 9, 2])

    def test_a_gate_that_the_mask_does_not_move_costs_less(self):
        gate = torch.eye(4)
        same = contrast(gate, gate, self.users)
        crossed = contrast(gate, gate[[3, 2, 0, 1]], self.users)
        assert 0 < same < crossed

    def test_each_user_counts_once(self):
        gate, masked = torch.randn(4, 3), torch.randn(4, 3)
        gate[1], masked[1] = 100.0, -100.0
        one_each = contrast(gate[[3, 0, 2]], masked[[3, 0, 2]], torch.tensor([2, 4, 9]))
        assert contrast(gate, masked, self.users).item() == pytest.approx(one_each.item())

    def test_gates_that_are_all_alike_cost_the_log_of_the_users(self):
        gate = torch.ones(4, 3)
        assert contrast(gate, gate, self.users).item() == pytest.approx(math.log(3))
