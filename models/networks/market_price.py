"""AM2's network: the market price of an impression from what the ranker's experts read (arXiv 2408.07907)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EMBEDDING = 8
"""Components of a scenario's embedding."""


class DynamicLinear(nn.Module):
    """x A diag(D e_s) B + b: a linear map whose weights of rank r the scenario's embedding e_s makes.

    D has a bias that starts at 1, so that all scenarios begin with the same weights (our choice, like the
    low rank).
    """

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, rank, bias=False)
        self.scenario = nn.Linear(EMBEDDING, rank)
        self.second = nn.Linear(rank, outputs)
        nn.init.ones_(self.scenario.bias)

    def forward(self, x: Tensor, scenario: Tensor) -> Tensor:
        """x [B, i], e_s [B, e] -> [B, o]."""
        mixed: Tensor = self.second(self.first(x) * self.scenario(scenario))
        return mixed


class DynamicMarketPrice(nn.Module):
    """Two layers whose weights depend on the scenario: shared [B, i], scenario rows [B] -> price [B]."""

    def __init__(self, inputs: int, scenarios: int, width: int, rank: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(scenarios, EMBEDDING)
        self.first = DynamicLinear(inputs, width, rank)
        self.last = DynamicLinear(width, 1, rank)

    def forward(self, shared: Tensor, scenario: Tensor) -> Tensor:
        """Standardised log price."""
        which = self.embedding(scenario)
        price: Tensor = self.last(F.relu(self.first(shared, which)), which).squeeze(-1)
        return price


class StaticMarketPrice(nn.Module):
    """The same with fixed weights: the scenario is one more input. `rank` is not used."""

    def __init__(self, inputs: int, scenarios: int, width: int, rank: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(scenarios, EMBEDDING)
        self.first = nn.Linear(inputs + EMBEDDING, width)
        self.last = nn.Linear(width, 1)

    def forward(self, shared: Tensor, scenario: Tensor) -> Tensor:
        """Standardised log price."""
        read = torch.cat([shared, self.embedding(scenario)], dim=-1)
        price: Tensor = self.last(F.relu(self.first(read))).squeeze(-1)
        return price


MARKET_PRICE_NETWORKS: dict[str, type[DynamicMarketPrice] | type[StaticMarketPrice]] = {
    "dynamic": DynamicMarketPrice,
    "static": StaticMarketPrice,
}
"""By name; to add one: a class with these arguments, a line here."""
