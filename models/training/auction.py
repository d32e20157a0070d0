"""AIE (arXiv 2408.07907): what an auction's outcome adds to the training of a CTR, and nothing to serving it.

AM2 predicts the market price of won impressions from what the experts read; BCM weighs clicks by the rank of
their bid. Beside them the textbook's answer: weights by the inverse probability of having won. The forms are
our choice; the paper states the ideas.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.data.columns import ABSENT
from models.networks.market_price import MARKET_PRICE_NETWORKS
from models.training.config import AuctionConfig
from models.training.ranker_terms import Step
from models.training.selection import Selection
from models.training.shown import Shown

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PriceScale:
    """Mean and spread of log1p(market price): prices are learned in these units."""

    mean: float
    spread: float

    @classmethod
    def of(cls, price_micros: NDArray[np.int64]) -> PriceScale:
        """The scale of the prices that are known; any, if none is."""
        known = np.log1p(price_micros[price_micros != ABSENT].astype(np.float64))
        return cls(float(known.mean()), float(known.std() or 1.0)) if len(known) else cls(0.0, 1.0)

    def standardised(self, price_micros: NDArray[np.int64]) -> Floats:
        """z of each price; 0 where there is none."""
        z = (np.log1p(np.maximum(price_micros, 0).astype(np.float64)) - self.mean) / self.spread
        return np.where(price_micros == ABSENT, 0.0, z).astype(np.float32)

    def micros(self, z: NDArray[np.floating]) -> Doubles:
        """The inverse."""
        found: Doubles = np.expm1(np.asarray(z, np.float64) * self.spread + self.mean)
        return found


def bid_ranks(bid_micros: NDArray[np.int64], scenario: NDArray[np.integer]) -> Doubles:
    """Where each bid [S] stands among the bids of its scenario, 0 = the lowest, 1 = the highest; equal bids
    share their mean rank, and a scenario with one bid has 0.5."""
    order = np.lexsort((bid_micros, scenario))
    where, bids = scenario[order], bid_micros[order]
    opens = np.concatenate([[True], where[1:] != where[:-1]])[: len(order)]
    new = opens | np.concatenate([[True], bids[1:] != bids[:-1]])[: len(order)]
    group, block = opens.cumsum() - 1, new.cumsum() - 1
    sizes = np.bincount(group)
    within = np.arange(len(order)) - (np.cumsum(sizes) - sizes)[group]
    tied = (np.bincount(block, within) / np.bincount(block))[block]
    ranks = np.empty(len(order))
    ranks[order] = np.where(sizes[group] > 1, tied / np.maximum(sizes[group] - 1, 1), 0.5)
    return ranks


def sample_weights(shown: Shown, config: AuctionConfig) -> Floats:
    """The weight of each impression [S] in the loss of clicks.

    BCM: a click weighs 1 + beta rank01(bid within its placement), scaled so that clicks weigh 1 on average;
    anything else weighs 1. `propensity_clip`: an impression weighs 1 / propensity, at most the clip,
    scaled to mean 1.

    Raises:
        ValueError: inverse propensities are asked for where the log has none.
    """
    weights = np.ones(len(shown))
    if config.bid_weight and shown.clicked.any():
        ranks = bid_ranks(shown.bid_micros, shown.requests.placement)
        weights[shown.clicked] += config.bid_weight * ranks[shown.clicked]
        weights[shown.clicked] /= weights[shown.clicked].mean()
    if config.propensity_clip:
        weights *= inverse_propensities(shown, config.propensity_clip)
    return weights.astype(np.float32)


def inverse_propensities(shown: Shown, clip: float) -> Doubles:
    """min(1 / propensity, clip) [S], scaled to mean 1.

    Raises:
        ValueError: an impression has no propensity.
    """
    if missing := int(np.isnan(shown.propensity).sum()):
        raise ValueError(
            f"auction.propensity_clip: {missing} of {len(shown)} sponsored impressions have no propensity; "
            "set it to 0, or log the probability with which each ad was shown"
        )
    weights: Doubles = np.minimum(1 / shown.propensity.astype(np.float64), clip)
    weights /= weights.mean()
    return weights


@dataclass(frozen=True, slots=True)
class Lesson:
    """What impressions teach, as tensors [S]: clicks, their weights, standardised prices and bids, where."""

    clicked: Tensor
    weight: Tensor
    price: Tensor
    priced: Tensor
    bid: Tensor
    placement: Tensor
    position: Tensor

    @classmethod
    def of(cls, shown: Shown, config: AuctionConfig, scale: PriceScale) -> Lesson:
        """Weights as the configuration has them."""
        return cls(
            torch.from_numpy(shown.clicked.astype(np.float32)),
            torch.from_numpy(sample_weights(shown, config)),
            torch.from_numpy(scale.standardised(shown.market_price_micros)),
            torch.from_numpy(shown.market_price_micros != ABSENT),
            torch.from_numpy(scale.standardised(shown.bid_micros)),
            torch.from_numpy(shown.requests.placement.astype(np.int64)),
            torch.from_numpy(shown.position.astype(np.int64)),
        )

    def at(self, index: Tensor) -> Lesson:
        """The rows at `index`."""
        return Lesson(*(getattr(self, each.name)[index] for each in fields(self)))


class Exposure(nn.Module):
    """What placement and position do to a click, beside the ad: added to the logit in training (our choice).

    Position 0 is the reference. Serving ranks ads for one place and leaves it out.
    """

    def __init__(self, placements: int, positions: int) -> None:
        super().__init__()
        self.placement = nn.Embedding(placements, 1)
        self.position = nn.Embedding(positions, 1)
        for table in (self.placement, self.position):
            nn.init.zeros_(table.weight)

    def forward(self, placement: Tensor, position: Tensor) -> Tensor:
        """Rows [B] -> what to add to a logit [B]; a position never met counts as the last one."""
        known = position.clamp(max=self.position.num_embeddings - 1)
        depth = self.position(known) - self.position.weight[0]
        added: Tensor = (self.placement(placement) + depth).squeeze(-1)
        return added


class Clicks(nn.Module):
    """Weighted BCE of what was clicked, given where it stood and perhaps what its price says."""

    def __init__(self, exposure: Exposure) -> None:
        super().__init__()
        self.exposure = exposure

    def forward(self, step: Step, lesson: Lesson, revealed: Tensor | float = 0.0) -> Tensor:
        """Its mean; `revealed` [B] is what `MarketPrice` adds to the logits."""
        logits = step.ranked.logits[:, 0] + self.exposure(lesson.placement, lesson.position) + revealed
        return F.binary_cross_entropy_with_logits(logits, lesson.clicked, lesson.weight)


class MarketPrice(nn.Module):
    """AM2: alpha x MAE of the standardised log market price; left behind in training.

    With a `selection` alpha x its loss instead, and what a price reveals goes into the logit of its click.
    """

    def __init__(
        self, inputs: int, placements: int, config: AuctionConfig, selection: Selection | None = None
    ) -> None:
        super().__init__()
        network = MARKET_PRICE_NETWORKS[config.market_price_network]
        self.network = network(inputs, placements, config.market_price_width, config.market_price_rank)
        self.selection = selection
        self._weight = config.market_price_weight

    def predict(self, step: Step, placement: Tensor) -> Tensor:
        """Standardised log prices [B]."""
        predicted: Tensor = self.network(step.ranked.shared[:, 0], placement)
        return predicted

    def forward(self, step: Step, lesson: Lesson) -> Tensor:
        """Its mean over the impressions that have a price."""
        predicted, where = self.predict(step, lesson.placement), lesson.placement
        if self.selection is None:
            away = (predicted - lesson.price).abs()
        else:
            away = self.selection.price_loss(predicted, lesson.price, lesson.bid, where)
        return self._weight * (away * lesson.priced).sum() / lesson.priced.sum().clamp(min=1)

    def revealed(self, step: Step, lesson: Lesson) -> Tensor:
        """What the price says of the click's logit [B]; the click does not teach the price."""
        if self.selection is None:
            return torch.zeros_like(lesson.price)
        with torch.no_grad():
            predicted = self.predict(step, lesson.placement)
            surprise = self.selection.surprise(predicted, lesson.price, lesson.placement)
        return -self.selection.revealed * surprise * lesson.priced

    def level(self) -> float:
        """What the served logit is raised by."""
        return 0.0 if self.selection is None else float(self.selection.level())


def floors(shown: Shown, scale: PriceScale, placements: int) -> Floats:
    """The least market price of each placement [P], in the units of the scale; -inf where none is known."""
    least = np.full(placements, -np.inf, np.float32)
    known = shown.market_price_micros != ABSENT
    prices = scale.standardised(shown.market_price_micros)[known]
    where = shown.requests.placement[known]
    for place in np.unique(where).tolist():
        least[place] = prices[where == place].min()
    return least
