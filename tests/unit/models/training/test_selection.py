from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from models.training.selection import Selection

FLOOR = -1.5
REVEALS = 0.8
"""How much a hidden quality of spread 1 moves a click's logit."""


def world(count: int, seed: int) -> dict[str, Tensor]:
    """Prices around each row's own mean, low where a hidden quality is high; what the bid wins is seen."""
    random = np.random.default_rng(seed)
    mean, hidden = random.normal(0, 0.7, count), random.normal(size=count)
    price = np.maximum(mean - 0.8 * hidden + 0.6 * random.normal(size=count), FLOOR)
    bid = random.normal(0, 0.5, count)
    clicked = random.random(count) < 1 / (1 + np.exp(4.0 - REVEALS * hidden))
    won = price < bid
    columns = {"mean": mean, "price": price, "bid": bid, "hidden": hidden, "clicked": clicked}
    return {name: torch.from_numpy(values[won].astype(np.float32)) for name, values in columns.items()}


@pytest.fixture(scope="module")
def seen() -> dict[str, Tensor]:
    return world(400_000, 0)


def fitted(seen: dict[str, Tensor], selection: Selection) -> tuple[Tensor, Tensor]:
    """The level of prices and of clicks that the log teaches, each row's own part of the mean being known."""
    placement = torch.zeros(len(seen["price"]), dtype=torch.int64)
    shift, logit = torch.nn.Parameter(torch.zeros(())), torch.nn.Parameter(torch.tensor(-3.0))
    optimiser = torch.optim.LBFGS(
        [shift, logit, *selection.parameters()], max_iter=60, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        predicted = seen["mean"] + shift
        price = selection.price_loss(predicted, seen["price"], seen["bid"], placement).mean()
        surprise = selection.surprise(predicted, seen["price"], placement).detach()
        logits = logit - selection.revealed * surprise
        loss = price + torch.nn.functional.binary_cross_entropy_with_logits(logits, seen["clicked"])
        loss.backward()
        return loss

    for _ in range(3):
        optimiser.step(closure)
    return shift.detach(), logit.detach()


def test_winners_are_luckier_than_what_took_part(seen):
    assert seen["hidden"].mean() > 0.3
    assert seen["clicked"].mean() > 1.25 * true_rate()


def true_rate() -> float:
    """Clicks of all that took part, whatever their quality."""
    hidden = np.random.default_rng(5).normal(size=400_000)
    return float((1 / (1 + np.exp(4.0 - REVEALS * hidden))).mean())


def test_prices_of_all_are_learned_from_those_below_the_bid(seen):
    selection = Selection(np.array([FLOOR], np.float32))
    shift, _ = fitted(seen, selection)
    assert abs(float(shift)) < 0.03
    assert float(selection.log_spread.detach().exp()) == pytest.approx(1.0, abs=0.03)


def test_clicks_are_promised_as_to_an_ad_that_was_not_chosen_for_its_luck(seen):
    selection = Selection(np.array([FLOOR], np.float32))
    _, logit = fitted(seen, selection)
    promised = float(torch.sigmoid(logit + selection.level().detach()))
    assert promised == pytest.approx(true_rate(), rel=0.08)
    assert float(selection.revealed.detach()) == pytest.approx(REVEALS * 0.8, abs=0.12)


def test_a_price_at_the_floor_is_worth_the_mean_of_what_lies_below_it():
    selection = Selection(np.array([0.0], np.float32))
    place = torch.zeros(2, dtype=torch.int64)
    found = selection.surprise(torch.zeros(2), torch.tensor([0.0, 0.4]), place)
    torch.testing.assert_close(found, torch.tensor([-((2 / np.pi) ** 0.5), 0.4]), atol=1e-4, rtol=1e-4)


def test_prices_far_from_what_is_predicted_stay_finite():
    selection = Selection(np.array([-30.0], np.float32))
    far = torch.tensor([-30.0, -29.0, 29.0])
    place = torch.zeros(3, dtype=torch.int64)
    predicted = torch.zeros(3, requires_grad=True)
    loss = selection.price_loss(predicted, far, far - 1, place)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert predicted.grad.isfinite().all()
    assert selection.surprise(predicted, far, place).isfinite().all()
