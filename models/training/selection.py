"""What winning says of an impression, taken out of its click: a correction by the market price.

The log's policy sees a quality that the model does not, and what won is better than it looks. The least bid
that would have won, the market price, is low where that quality is high. An impression is in the log where
its bid was above that price, and the bid does not know the quality: given the price, winning says nothing
more (our choice; in the manner of Heckman 1979, with a price in place of his unobserved threshold).

So two things are learned together. The price of everything that took part, won or not: log-normal around what
AM2's network predicts, seen only below the bid, and not below the floor. And how clicks go with what of a
price the prediction does not explain; served is the mean over all prices, that is the click of an ad that
was not chosen for its luck.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Selection(nn.Module):
    """Rows are impressions [B]; prices, bids and floors are logs in the units of `PriceScale`.

    price = predicted + spread_s u, u standard normal, s the placement; the logit of a click is that of the
    ranker less `revealed` u, and over all u that many clicks as with the logit raised by `revealed`^2 / 2
    (clicks are rare).
    """

    floors: Tensor

    def __init__(self, floors: NDArray[np.float32]) -> None:
        super().__init__()
        self.register_buffer("floors", torch.from_numpy(floors))
        self.log_spread = nn.Parameter(torch.zeros(len(floors)))
        self.revealed = nn.Parameter(torch.zeros(()))

    def price_loss(self, predicted: Tensor, price: Tensor, bid: Tensor, placement: Tensor) -> Tensor:
        """-ln likelihood of each price, given that it is below the bid; the floor stands for all below it."""
        spread = self.log_spread[placement].exp()
        unit = (price - predicted) / spread
        seen = unit.square() / 2 + _HALF_LOG_2PI + spread.log()
        at_floor = -torch.special.log_ndtr(unit)
        chance = torch.special.log_ndtr((torch.maximum(bid, price) - predicted) / spread)
        loss: Tensor = torch.where(self._at_floor(price, placement), at_floor, seen) + chance
        return loss

    def surprise(self, predicted: Tensor, price: Tensor, placement: Tensor) -> Tensor:
        """u of each price; at the floor its mean below it."""
        unit = (price - predicted) / self.log_spread[placement].exp()
        below = -torch.exp(-unit.square() / 2 - _HALF_LOG_2PI - torch.special.log_ndtr(unit))
        return torch.where(self._at_floor(price, placement), below, unit)

    def level(self) -> Tensor:
        """What the ranker's logit is raised by when it is served."""
        return self.revealed.square() / 2

    def _at_floor(self, price: Tensor, placement: Tensor) -> Tensor:
        return price <= self.floors[placement] + 1e-6
