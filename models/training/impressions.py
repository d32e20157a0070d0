"""Train the ranker on sponsored impressions: was the ad clicked? Each is a request with one candidate."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.encode import CROSS
from models.networks.aw_moe import AwMoe
from models.networks.item_tower import ItemTower
from models.training.auction import Clicks, Exposure, Lesson, MarketPrice, PriceScale, floors
from models.training.batches import Schedule, fit, in_blocks, shuffled
from models.training.config import AuctionConfig, RankerConfig
from models.training.features import Features
from models.training.networks import aw_moe, item_tower
from models.training.ranker import RankerModel
from models.training.ranker_terms import Contrast, Step, rank
from models.training.selection import Selection
from models.training.shown import Shown
from models.training.timeline import Requests

Floats = NDArray[np.float32]
BLOCK = 1024
"""Impressions scored at once outside training."""


@dataclass(frozen=True)
class ImpressionModel:
    """A CTR, and what was trained with it: the effect of places, and AM2's head where there is one."""

    features: Features
    items: ItemTower
    ranker: AwMoe
    exposure: Exposure
    price: MarketPrice | None
    scale: PriceScale
    best: float
    """Least validation loss of an epoch; NaN without validation."""

    def logits(self, requests: Requests, cross: Floats | None = None) -> Floats:
        """Logit of each request's target [R], without regard to where it stands."""
        with torch.no_grad():
            found = [step.ranked.logits[:, 0].numpy() for step in self._steps(requests, cross)]
        return np.concatenate(found)

    def won_logits(self, shown: Shown, cross: Floats | None = None) -> Floats:
        """The same of impressions [S] that were won at their prices: with what a selection says these reveal.

        A calibrator is fitted on such impressions, and has to be fitted on these logits: on the others it
        would put back what the selection takes out.
        """
        if self.price is None:
            return self.logits(shown.requests, cross)
        lesson, found = Lesson.of(shown, AuctionConfig(), self.scale), []
        with torch.no_grad():
            for block, step in zip(
                in_blocks(len(shown), BLOCK), self._steps(shown.requests, cross), strict=True
            ):
                part = lesson.at(torch.arange(block.start, block.stop))
                revealed = self.price.revealed(step, part) - self.price.level()
                found.append((step.ranked.logits[:, 0] + revealed).numpy())
        return np.concatenate(found)

    def chances(self, requests: Requests, position: NDArray[np.integer]) -> Floats:
        """Click chance of each request's target [R] at its placement and position."""
        return _chance(self.logits(requests) + self._exposed(requests, position))

    def won_chances(self, shown: Shown) -> Floats:
        """Click chance of each impression [S] that was won at its price."""
        return _chance(self.won_logits(shown) + self._exposed(shown.requests, shown.position))

    def prices(self, requests: Requests) -> Floats:
        """Standardised log market prices [R].

        Raises:
            ValueError: it was trained without them.
        """
        if self.price is None:
            raise ValueError("no market prices: it was trained with auction.market_price_weight = 0")
        found = []
        with torch.no_grad():
            for step in self._steps(requests, None):
                placement = torch.from_numpy(step.requests.placement.astype(np.int64))
                found.append(self.price.predict(step, placement).numpy())
        return np.concatenate(found)

    def as_ranker(self) -> RankerModel:
        """What is served of it: neither places nor prices are."""
        return RankerModel(self.items.eval(), self.ranker.eval(), self.best)

    def _exposed(self, requests: Requests, position: NDArray[np.integer]) -> Floats:
        with torch.no_grad():
            added: Floats = self.exposure(
                torch.from_numpy(requests.placement.astype(np.int64)),
                torch.from_numpy(position.astype(np.int64)),
            ).numpy()
        return added

    def _steps(self, requests: Requests, cross: Floats | None) -> Iterator[Step]:
        self.ranker.eval()
        table = self.ranker.items(self.items.eval().all())
        for block in in_blocks(len(requests), BLOCK):
            part = None if cross is None else cross[block]
            yield _step(self.features, self.ranker, table, requests.at(block), part)


def train_impressions(
    features: Features,
    shown: Shown,
    validation: Shown,
    config: RankerConfig,
    auction: AuctionConfig,
    seed: int,
    *,
    query: int = 1,
    cross: tuple[Floats, Floats] | None = None,
) -> ImpressionModel:
    """Fit clicks by weighted BCE, prices by MAE where asked for; keep the epoch of least validation loss.

    `cross` are the funnel's scores of both parts, [S, X] each; without them the ranker learns to do without.
    `query` is the number of components of a search's query. Validation is weighed like training; an empty one
    keeps the last epoch.

    Raises:
        ValueError: inverse propensities are asked for where the log has none.
    """
    torch.manual_seed(seed)
    trainer = _Trainer(features, shown, config, auction, query)
    hidden = (None, None) if cross is None else cross
    if cross is not None:
        trainer.ranker.standardise(
            torch.from_numpy(cross[0].mean(axis=0)), torch.from_numpy(cross[0].std(axis=0) + 1e-3)
        )
    return trainer.train(
        _Part(shown, Lesson.of(shown, auction, trainer.scale), hidden[0]),
        _Part(validation, Lesson.of(validation, auction, trainer.scale), hidden[1]),
        config,
        seed,
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """Impressions, what they teach, and perhaps the funnel's scores [S, X]."""

    shown: Shown
    lesson: Lesson
    cross: Floats | None

    def __len__(self) -> int:
        return len(self.shown)

    def at(self, index: Tensor) -> _Part:
        rows = index.numpy()
        cross = None if self.cross is None else self.cross[rows]
        return _Part(self.shown.at(rows), self.lesson.at(index), cross)


class _Trainer:
    def __init__(
        self, features: Features, shown: Shown, config: RankerConfig, auction: AuctionConfig, query: int
    ) -> None:
        self.features = features
        self.items = item_tower(features.schema, features.items, config.dim, config.id_dropout)
        self.ranker = aw_moe(features.schema, config, query)
        placements = len(features.schema.placements)
        self.clicks = Clicks(Exposure(placements, int(shown.position.max()) + 1))
        self.scale = PriceScale.of(shown.market_price_micros)
        self.price: MarketPrice | None = None
        if auction.market_price_weight:
            selection = Selection(floors(shown, self.scale, placements)) if auction.selection else None
            self.price = MarketPrice(self.ranker.experts.first.in_features, placements, auction, selection)
        gated = config.contrast_weight and self.ranker.form.gate in ("attention", "sum")
        self.contrast = Contrast(self.ranker, config.contrast_weight, config.mask_share) if gated else None
        self.modules: list[nn.Module] = [self.items, self.ranker, self.clicks]
        if self.price is not None:
            self.modules.append(self.price)
        # Clicks are rare: start from their rate instead of from one half.
        rate = float(np.clip(shown.clicked.mean(), 1e-6, 1 - 1e-6))
        self.ranker.start_from(torch.zeros(len(CROSS)), 1.0)
        with torch.no_grad():
            self.ranker.linear.bias.fill_(float(np.log(rate / (1 - rate))))

    def train(self, part: _Part, validation: _Part, config: RankerConfig, seed: int) -> ImpressionModel:
        best = (float("inf"), self._states())

        def loss(index: Tensor) -> Tensor:
            for module in self.modules:
                module.train()
            return self._loss(part.at(index))

        def after_epoch(epoch: int) -> str:
            nonlocal best
            found = self._validate(validation)
            if found < best[0] or not len(validation):
                best = (found, self._states())
            return f"validation loss {found:.4f}"

        generator = torch.Generator().manual_seed(seed)
        fit(
            "impressions",
            [parameter for module in self.modules for parameter in module.parameters()],
            Schedule(config.epochs, config.learning_rate, config.weight_decay),
            lambda epoch: shuffled(len(part), config.batch, generator),
            loss,
            after_epoch,
        )
        for module, state in zip(self.modules, best[1], strict=True):
            module.load_state_dict(state)
            module.eval()
        if self.price is not None:
            with torch.no_grad():
                self.ranker.linear.bias.add_(self.price.level())
        return ImpressionModel(
            self.features, self.items, self.ranker, self.clicks.exposure, self.price, self.scale, best[0]
        )

    def _loss(self, part: _Part) -> Tensor:
        step = self._step(part)
        total = self._clicks(step, part)
        if self.price is not None:
            total = total + self.price(step, part.lesson)
        if self.contrast is not None:
            total = total + self.contrast(step)
        return total

    def _clicks(self, step: Step, part: _Part) -> Tensor:
        revealed = 0.0 if self.price is None else self.price.revealed(step, part.lesson)
        found: Tensor = self.clicks(step, part.lesson, revealed)
        return found

    def _validate(self, validation: _Part) -> float:
        """Mean weighted BCE; NaN of an empty part."""
        for module in self.modules:
            module.eval()
        total = 0.0
        with torch.no_grad():
            for block in in_blocks(len(validation), BLOCK):
                part = validation.at(torch.arange(block.start, block.stop))
                total += float(self._clicks(self._step(part), part)) * len(part)
        return total / len(validation) if len(validation) else float("nan")

    def _step(self, part: _Part) -> Step:
        table = self.ranker.items(self.items.all())
        return _step(self.features, self.ranker, table, part.shown.requests, part.cross)

    def _states(self) -> list[dict[str, Tensor]]:
        return [copy.deepcopy(module.state_dict()) for module in self.modules]


def _chance(logits: Floats) -> Floats:
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def _step(features: Features, ranker: AwMoe, table: Tensor, requests: Requests, cross: Floats | None) -> Step:
    """The ranker's answer for each request's target; without `cross` [B, X] its scores are hidden."""
    batch = features.batch(requests)
    rows = torch.from_numpy(requests.target.astype(np.int64))[:, None]
    read = (
        ranker.cross_mean.expand(len(rows), 1, len(CROSS))
        if cross is None
        else torch.from_numpy(cross)[:, None]
    )
    query = torch.zeros(len(rows), ranker.query.in_features)
    return Step(requests, batch, table, rows, read, query, rank(ranker, table, batch, rows, read, query))
