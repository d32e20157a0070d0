"""Train the AW-MoE ranker on what the earlier stages let through."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.encode import CROSS
from models.networks.aw_moe import AwMoe, Ranked
from models.networks.item_tower import ItemTower
from models.plan import ONLY_PRERANK
from models.training.batches import Batch, Schedule, fit, in_blocks, shuffled
from models.training.config import RankerConfig
from models.training.features import Features
from models.training.funnel import Pool
from models.training.gains import gains, standard_error
from models.training.networks import aw_moe, item_tower
from models.training.ranges import Ranges
from models.training.ranker_start import as_cut, starts
from models.training.ranker_terms import Contrast, Fit, KindHeads, Step, rank
from models.training.score_levels import ScoreLevels
from models.training.timeline import Requests

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Rows = NDArray[np.int32]

BLOCK = 4
"""Requests ranked at once outside training: so few that events x candidates stay in cache."""
MARGIN = 1.0
"""Standard errors by which an epoch has to be better than the start to take its place (our choice)."""


@dataclass(frozen=True)
class RankerModel:
    """A trained ranker; `best` is the validation NDCG@10 of the epoch that was kept."""

    items: ItemTower
    ranker: AwMoe
    best: float
    searched: Mapping[str, float] = field(default_factory=dict)
    """Where it could learn from searches, how well validation's are ranked; see `ranker_searches`."""
    unread: RankerModel | None = None
    """The ranker as it was before it learned from searches; None where it did not."""

    def item_vectors(self) -> Floats:
        """What the ranker reads of every item: [m, d]."""
        with torch.no_grad():
            return self.ranker.items(self.items.eval().all()).numpy()

    def logits(
        self, batch: Batch, pools: list[Pool], width: int, query: Floats | None = None
    ) -> list[Floats]:
        """Logits of each request's best `width` candidates; `query` [R, q] are searches', None = none is."""
        lengths = iter([min(len(pool.rows), width) for pool in pools])
        blocks = self._ranked(batch, pools, width, query)
        return [row[: next(lengths)] for told in blocks for row in told.logits.numpy()]

    def ranges(self, batch: Batch, pools: list[Pool], width: int) -> Ranges:
        """How large the experts' values get over each request's best `width` candidates.

        Raises:
            ValueError: there is no request.
        """
        return Ranges.of(self.ranker, (told.shared for told in self._ranked(batch, pools, width)))

    def _ranked(
        self, batch: Batch, pools: list[Pool], width: int, query: Floats | None = None
    ) -> Iterator[Ranked]:
        """Blocks of requests, one after the other, in evaluation mode."""
        self.ranker.eval()
        with torch.no_grad():
            table = self.ranker.items(self.items.eval().all())
            for block in in_blocks(len(pools), BLOCK):
                rows, cross = padded(pools[block], width)
                part = batch.at(torch.arange(block.start, block.stop))
                asked = None if query is None else torch.from_numpy(query[block])
                yield rank(self.ranker, table, part, torch.from_numpy(rows), torch.from_numpy(cross), asked)

    def turn_queries(self, turn: Floats) -> None:
        """Read queries [d + 1] of another space; `turn` [d, d] takes its directions to those learned in."""
        with torch.no_grad():
            weight = self.ranker.query.weight
            weight[:, :-1] = weight[:, :-1] @ torch.from_numpy(turn).T

    def read_levels(self, before: ScoreLevels, after: ScoreLevels) -> None:
        """Read the funnel's scores, which lie as `after` says, as those that it learned from, `before`."""
        mean, scale = (
            each.numpy().astype(np.float64) for each in (self.ranker.cross_mean, self.ranker.cross_scale)
        )
        moved = before.moved(after, mean, scale)
        self.ranker.standardise(*(torch.from_numpy(each.astype(np.float32)) for each in moved))
        if self.unread is not None:
            self.unread.read_levels(before, after)


@dataclass(frozen=True)
class RankerData:
    """Requests with the candidates that the funnel gave them, and validation requests with theirs."""

    requests: Requests
    pools: list[Pool]
    uniform: Rows
    """[R, U] random items of each request."""
    uniform_cross: Floats
    """[R, U, X]."""
    older: Requests
    """Requests of the time before, which the earlier stages were trained on."""
    validation: Requests
    validation_pools: list[Pool]

    def within(self, width: int) -> RankerData:
        """The requests whose target is among the best `width` candidates; all of them where there is none.

        Of a target that was lost all scores are low, beside candidates that were let through because theirs
        are high: whoever learns from such requests learns that low scores are good. Serving ranks only what
        was let through.
        """
        kept = np.array([r for r, pool in enumerate(self.pools) if 0 <= pool.place < width], np.int64)
        if not len(kept):
            return self
        return replace(
            self,
            requests=self.requests.at(kept),
            pools=[self.pools[r] for r in kept],
            uniform=self.uniform[kept],
            uniform_cross=self.uniform_cross[kept],
        )


def train_ranker(
    features: Features,
    data: RankerData,
    width: int,
    config: RankerConfig,
    seed: int,
    query: int = 1,
    *,
    start: ItemTower | None = None,
    cut: Mapping[str, float] = ONLY_PRERANK,
    margin: float = MARGIN,
) -> RankerModel:
    """Train in phases; keep the state that ranks `validation` best among `width` candidates.

    The earlier stages know the older requests by heart, so their scores there are too good to be believed.
    A warm-up, if configured, learns from older requests with the cross features hidden (at their mean).
    Listwise linear fits then find how much to trust each score and the experts. The last phase learns from
    requests that the earlier stages never saw, with the scores that serving will see. It starts from one of
    these fits or from the weights of the `cut`, whichever ranks best. Its place takes the best of
    the epochs that gain more than `margin` standard errors of their gain: on little data the ranker is not
    worse than the stage before it, and what validation likes by chance is not served (our choice). Its items
    start from those of the tower `start`. `query` is the number of components of a search's query.
    """
    torch.manual_seed(seed)
    trainer = _Trainer(features, data, config, query, seed)
    if start is not None:
        trainer.items.start_from(start)
    if config.warmup_epochs and config.warmup_requests and len(data.older):
        trainer.warm_up()
    return trainer.train(width, trainer.starts(width, cut), margin)


class _Trainer:
    def __init__(
        self, features: Features, data: RankerData, config: RankerConfig, query: int, seed: int
    ) -> None:
        self.features, self.data, self.config = features, data, config
        self.items = item_tower(features.schema, features.items, config.dim, config.id_dropout)
        self.ranker = aw_moe(features.schema, config, query)
        seen = np.concatenate([pool.cross[:: max(len(pool.cross) // 50, 1)] for pool in data.pools])
        if not len(seen):
            seen = data.uniform_cross.reshape(-1, len(CROSS))
        self.ranker.standardise(
            torch.from_numpy(seen.mean(axis=0)), torch.from_numpy(seen.std(axis=0) + 1e-3)
        )
        self.terms = loss_terms(self.ranker, features, config)
        self.generator = torch.Generator().manual_seed(seed)
        self.random = np.random.default_rng(seed)
        self.parameters = [
            parameter for module in (self.items, self.ranker, self.terms) for parameter in module.parameters()
        ]

    def warm_up(self) -> None:
        """Learn item vectors, attention and experts from older requests."""
        older, config = self.data.older, self.config
        items = len(self.features.items)

        def loss(index: Tensor) -> Tensor:
            requests = older.at(index.numpy())
            negatives = self.random.integers(items, size=(len(requests), config.candidates - 1))
            rows = np.concatenate([requests.target[:, None], negatives], axis=1)
            hidden = self.ranker.cross_mean.expand(*rows.shape, -1)
            return self._loss(self.features.batch(requests), requests, rows, hidden)

        fit(
            "ranker, warm-up",
            self.parameters,
            Schedule(config.warmup_epochs, config.learning_rate, config.weight_decay),
            lambda epoch: shuffled(len(older), config.batch, self.generator, config.warmup_requests),
            loss,
        )

    def starts(self, width: int, cut: Mapping[str, float]) -> list[tuple[Floats, float]]:
        """Weights to start from: see `models.training.ranker_start`."""
        with torch.no_grad():
            self.ranker.start_from(torch.zeros(len(CROSS)), 1.0)
        model, data = RankerModel(self.items, self.ranker, 0.0), self.data
        mean, scale = self.ranker.cross_mean.numpy(), self.ranker.cross_scale.numpy()

        def columns(index: NDArray[np.int64], pools: list[Pool]) -> list[Floats]:
            longest = max(len(pool.rows) for pool in pools)
            experts = model.logits(self.features.batch(data.requests.at(index)), pools, longest)
            return [
                np.column_stack([(pool.cross - mean) / scale, own])
                for pool, own in zip(pools, experts, strict=True)
            ]

        found = starts(data.pools, data.requests.target, width, columns)
        return [*found, as_cut(cut, scale)]

    def train(self, width: int, starts: list[tuple[Floats, float]], margin: float) -> RankerModel:
        """Learn from the funnel's own candidates and scores, from the best of `starts`."""
        data, config, users = self.data, self.config, self.data.validation.user
        batches = self.features.batch(data.requests)
        judged = self._judging(width)
        start = self._begin(starts, judged)
        best = (_mean(start), copy.deepcopy(self.items.state_dict()), copy.deepcopy(self.ranker.state_dict()))

        def loss(index: Tensor) -> Tensor:
            rows, cross = drawn(data, index.numpy(), width, config, self.random)
            return self._loss(
                batches.at(index), data.requests.at(index.numpy()), rows, torch.from_numpy(cross)
            )

        def after_epoch(epoch: int) -> str:
            nonlocal best
            found = judged()
            value, error = _mean(found), standard_error(found - start, users)
            if value > best[0] and _mean(found - start) > margin * error:
                states = self.items.state_dict(), self.ranker.state_dict()
                best = (value, *copy.deepcopy(states))
            return f"validation NDCG@10 {value:.4f}, start {_mean(start):.4f}, error {error:.4f}"

        fit(
            "ranker",
            self.parameters,
            Schedule(config.epochs, config.learning_rate, config.weight_decay),
            lambda epoch: shuffled(len(data.requests), config.batch, self.generator),
            loss,
            after_epoch,
        )
        self.items.load_state_dict(best[1])
        self.ranker.load_state_dict(best[2])
        return RankerModel(self.items.eval(), self.ranker.eval(), best[0])

    def _judging(self, width: int) -> Callable[[], Doubles]:
        """What gives NDCG@10 of validation's requests [V] by the ranker as it then is."""
        data, model = self.data, RankerModel(self.items, self.ranker, 0.0)
        # Whose target the cut lost counts 0 whatever the ranker says of the others.
        found = np.array([r for r, pool in enumerate(data.validation_pools) if 0 <= pool.place < width], int)
        pools = [data.validation_pools[r] for r in found.tolist()]
        batch = self.features.batch(data.validation.at(found))

        def judged() -> Doubles:
            values = np.zeros(len(data.validation))
            values[found] = gains(model.logits(batch, pools, width), pools)
            return values

        return judged

    def _begin(self, starts: list[tuple[Floats, float]], judged: Callable[[], Doubles]) -> Doubles:
        """Start from the best of `starts`, and tell what it gives."""
        tried = []
        for weights, blend in starts:
            self.ranker.start_from(torch.from_numpy(weights), blend)
            tried.append(judged())
        best = int(np.argmax([_mean(each) for each in tried]))
        weights, blend = starts[best]
        self.ranker.start_from(torch.from_numpy(weights), blend)
        return tried[best]

    def _loss(self, batch: Batch, requests: Requests, rows: NDArray[np.int64], cross: Tensor) -> Tensor:
        query = torch.zeros(len(batch), self.ranker.query.in_features)
        return loss_of(self.items, self.ranker, self.terms, requests, batch, rows, cross, query)


def _mean(values: Doubles) -> float:
    return float(values.sum()) / max(len(values), 1)


def loss_of(
    items: ItemTower,
    ranker: AwMoe,
    terms: nn.ModuleList,
    requests: Requests,
    batch: Batch,
    rows: NDArray[np.int64],
    cross: Tensor,
    query: Tensor,
) -> Tensor:
    """The sum of the terms over one step: candidates `rows` [B, N], the positive first, for what is described
    at `Step`."""
    items.train()
    ranker.train()
    table = ranker.items(items.all())
    candidates = torch.from_numpy(rows)
    ranked = rank(ranker, table, batch, candidates, cross, query)
    step = Step(requests, batch, table, candidates, cross, query, ranked)
    return torch.stack([term(step) for term in terms]).sum()


def drawn(
    data: RankerData,
    index: NDArray[np.int64],
    width: int,
    config: RankerConfig,
    random: np.random.Generator,
) -> tuple[NDArray[np.int64], Floats]:
    """The positive first, then negatives, hard and uniform: rows [B, N], cross [B, N, X]."""
    count = config.candidates - 1
    hard = round(count * config.hard_share)
    rows = np.empty((len(index), count + 1), np.int64)
    cross = np.empty((len(index), count + 1, len(CROSS)), np.float32)
    for b, r in enumerate(index.tolist()):
        pool = data.pools[r]
        able = np.delete(
            np.arange(min(width, len(pool.rows))), [pool.place] if 0 <= pool.place < width else []
        )
        # A funnel that found nothing but the target leaves no hard negatives.
        few = hard if len(able) else 0
        take = random.choice(able, few, replace=len(able) < few) if few else able[:0]
        other = random.integers(data.uniform.shape[1], size=count - few)
        rows[b] = [data.requests.target[r], *pool.rows[take], *data.uniform[r, other]]
        cross[b] = np.concatenate([pool.target_cross[None], pool.cross[take], data.uniform_cross[r, other]])
    return rows, cross


def loss_terms(ranker: AwMoe, features: Features, config: RankerConfig) -> nn.ModuleList:
    """The terms of `models.training.ranker_terms` that the configuration asks for and that mean something."""
    terms = nn.ModuleList([Fit(config.loss)])
    if config.contrast_weight and ranker.form.gate in ("attention", "sum"):
        terms.append(Contrast(ranker, config.contrast_weight, config.mask_share))
    kinds = len(features.schema.event_kinds)
    if config.kind_weight and kinds > 1:
        inputs = ranker.experts.first.in_features
        terms.append(KindHeads(inputs, features.timeline.kind, kinds, config.dim, config.kind_weight))
    return terms


def padded(pools: list[Pool], width: int) -> tuple[NDArray[np.int64], Floats]:
    """The best `width` of each pool: rows [B, W] and cross [B, W, X]; row 0 and zeros at pads."""
    longest = max(1, *(min(len(pool.rows), width) for pool in pools))
    rows = np.zeros((len(pools), longest), np.int64)
    cross = np.zeros((len(pools), longest, len(CROSS)), np.float32)
    for b, pool in enumerate(pools):
        length = min(len(pool.rows), width)
        rows[b, :length] = pool.rows[:length]
        cross[b, :length] = pool.cross[:length]
    return rows, cross
