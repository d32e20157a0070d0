"""The ranker's last phase: it learns from searches what words change, and unlearns nothing for it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.data.columns import Queries
from models.encode import CROSS
from models.plan import Plan
from models.training.batches import Schedule, fit
from models.training.candidates import Candidates
from models.training.encoders import Encoders
from models.training.features import Features
from models.training.funnel import Pool
from models.training.gains import gains, standard_error
from models.training.ground import Ground
from models.training.networks import item_tower
from models.training.query import train_query, usable
from models.training.ranker import RankerData, RankerModel, drawn, loss_of, loss_terms
from models.training.searches import (
    Found,
    Searches,
    by_users,
    found_for,
    heard,
    searches_of,
    taken_before,
    validating,
)
from models.training.timeline import Requests
from retrieval.text_encoder import TextEncoder

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
State = dict[str, Tensor]

LEAST = 20
"""With fewer searches to learn from, or to judge by, the ranker reads no queries."""


def learn_searches(
    ground: Ground,
    candidates: Candidates,
    encoders: Encoders,
    text: TextEncoder | None,
    ranker: RankerModel,
    data: RankerData,
) -> RankerModel:
    """The ranker after a phase on searches; as it is given where there are none or where that did not help.

    Each epoch goes through all searches and as many requests for recommendations, `data`, whose query is 0.
    Kept is the epoch that ranks validation's searches best, in the order that serving makes of the ranker's
    score and the rest (`Plan.search`), among those whose recommendations are no worse than before by more
    than the standard error of the difference (our choice). The start competes, with the query unread.
    """
    config = ground.config.ranker
    if not config.search_epochs:
        return ranker
    asked = _asked(ground, candidates, encoders, text, ranker.ranker.cross_mean.numpy())
    if asked is None:
        return ranker
    return _Phase(ground, candidates.plan, ranker, data, asked).train()


@dataclass(frozen=True)
class _Asked:
    """Searches to learn from and those that judge, over `features` with the histories of both."""

    features: Features
    lessons: Searches
    found: Found
    judging: Searches
    judged: Found


def _asked(
    ground: Ground, candidates: Candidates, encoders: Encoders, text: TextEncoder | None, hidden: Floats
) -> _Asked | None:
    """None where there are too few of either."""
    dataset, split, config = ground.dataset, ground.split, ground.config
    fine, held = (
        usable(dataset, split, config.split.protocol),
        validating(dataset, split.validation, split.test),
    )
    every = dataset.queries
    if fine is None or held is None or every is None:
        return None
    lessons, judging = by_users(fine), by_users(held)
    if len(lessons) < LEAST or len(judging) < LEAST:
        return None
    newest = lessons.at(np.arange(len(lessons))[-config.ranker.search_requests :])
    lessons, query = _overheard(ground, fine, newest, encoders, text)
    judging, asked = _known(judging, *heard(encoders.query, judging.text))
    if len(lessons) < LEAST or len(judging) < LEAST:
        return None
    random = np.random.default_rng(config.seed)
    features, learnt = searches_of(ground.features, lessons, query, every, split.train)
    features, judges = searches_of(features, judging, asked, every, split.train)
    known = taken_before(dataset, lessons, ground.early)
    width = candidates.plan.ranked
    found = found_for(candidates.before.over(features), learnt, known, hidden, width, random)
    nobody = np.zeros(len(judges), bool)
    judged = found_for(candidates.known.over(features), judges, nobody, hidden, width, random)
    return _Asked(features, learnt, found, judges, judged)


def _overheard(
    ground: Ground, every: Queries, lessons: Queries, encoders: Encoders, text: TextEncoder | None
) -> tuple[Queries, Floats]:
    """The lessons of which a query tower knows anything that has not learned from them, with its vectors.

    A query that its own tower learned lies too close to what was taken. So the tower is learned twice more,
    from the other half of the lessons by time and everything else; all lie in the space of the same items.
    """
    dataset, config = ground.dataset, ground.config
    vectors = encoders.towers.item_vectors()
    middle = int(lessons.time_ms[len(lessons) // 2])
    query, known = np.zeros((len(lessons), vectors.shape[1]), np.float32), np.zeros(len(lessons), bool)
    for newer in (False, True):
        mine = np.flatnonzero((lessons.time_ms >= middle) == newer)
        rest = every.at((every.time_ms >= middle) != newer)
        if len(mine):
            model = train_query(dataset, rest, vectors, config.query, config.seed, text)
            query[mine], known[mine] = heard(model, [lessons.text[row] for row in mine.tolist()])
    return _known(lessons, query, known)


def _known(queries: Queries, query: Floats, known: NDArray[np.bool_]) -> tuple[Queries, Floats]:
    return queries.at(known), query[known]


class _Phase:
    def __init__(
        self, ground: Ground, plan: Plan, before: RankerModel, data: RankerData, asked: _Asked
    ) -> None:
        self.config, self.plan, self.asked = ground.config.ranker, plan, asked
        self.before, self.data = before, data
        self.seed = ground.config.seed
        items = item_tower(
            asked.features.schema, asked.features.items, self.config.dim, self.config.id_dropout
        )
        items.load_state_dict(before.items.state_dict())
        self.model = replace(before, items=items, ranker=copy.deepcopy(before.ranker))
        self.model.ranker.knows_queries.fill_(1.0)
        self.validation = asked.features.batch(data.validation)
        self.judging = asked.features.batch(asked.judging.requests)

    def train(self) -> RankerModel:
        """See `learn_searches`."""
        torch.manual_seed(self.seed)
        lessons, query = self._joined()
        batch = self.asked.features.batch(lessons.requests)
        model, random = self.model, np.random.default_rng(self.seed)
        terms = loss_terms(model.ranker, self.asked.features, self.config)
        floor, unread = self._recommended(self.before), self._searched(self.before, read=False)
        best: tuple[float, State, State] = (float(unread.mean()), {}, {})

        def loss(index: Tensor) -> Tensor:
            rows, cross = drawn(lessons, index.numpy(), self.plan.ranked, self.config, random)
            return loss_of(
                model.items,
                model.ranker,
                terms,
                lessons.requests.at(index.numpy()),
                batch.at(index),
                rows,
                torch.from_numpy(cross),
                query[index],
            )

        def after_epoch(epoch: int) -> str:
            nonlocal best
            lost = floor - self._recommended(model)
            error = standard_error(lost, self.data.validation.user)
            searched = float(self._searched(model, read=True).mean())
            if searched > best[0] and lost.mean() <= error:
                states = model.items.state_dict(), model.ranker.state_dict()
                best = (searched, *copy.deepcopy(states))
            return (
                f"searches, validation NDCG@10 {searched:.4f}, unread {unread.mean():.4f}; "
                f"recommendations {-lost.mean():+.4f}"
            )

        fit(
            "ranker, searches",
            [*model.items.parameters(), *model.ranker.parameters(), *terms.parameters()],
            Schedule(self.config.search_epochs, self.config.learning_rate, self.config.weight_decay),
            lambda epoch: self._batches(random),
            loss,
            after_epoch,
        )
        told = {
            "searches": float(len(unread)),
            "search_ndcg@10": best[0],
            "search_ndcg@10_unread": float(unread.mean()),
        }
        if not best[1]:
            return replace(self.before, searched=told)
        model.items.load_state_dict(best[1])
        model.ranker.load_state_dict(best[2])
        items, ranker = model.items.eval(), model.ranker.eval()
        return replace(model, items=items, ranker=ranker, searched=told, unread=self.before)

    def _joined(self) -> tuple[RankerData, Tensor]:
        """Requests for recommendations, then the searches whose target was found, and the query of each."""
        data, searches, found = self.data, self.asked.lessons, self.asked.found
        places = np.array([pool.place for pool in found.pools])
        kept = np.flatnonzero(places >= 0) if (places >= 0).any() else np.arange(len(places))
        own = searches.at(kept)
        both = replace(
            data,
            requests=_both(data.requests, own.requests),
            pools=[*data.pools, *(found.pools[s] for s in kept.tolist())],
            uniform=np.concatenate([data.uniform, found.others[kept]]),
            uniform_cross=np.concatenate([data.uniform_cross, found.others_cross[kept]]),
        )
        plain = np.zeros((len(data.requests), own.query.shape[1]), np.float32)
        return both, torch.from_numpy(np.concatenate([plain, own.query]))

    def _batches(self, random: np.random.Generator) -> list[Tensor]:
        """Every search, and as many requests for recommendations."""
        plain = len(self.data.requests)
        places = np.array([pool.place for pool in self.asked.found.pools])
        count = int((places >= 0).sum()) or len(places)
        some = random.permutation(plain)[:count]
        order = random.permutation(np.concatenate([some, plain + np.arange(count)]))
        return list(torch.from_numpy(order).split(self.config.batch))

    def _recommended(self, model: RankerModel) -> Doubles:
        """NDCG@10 of validation's requests: [V]."""
        pools = self.data.validation_pools
        return gains(model.logits(self.validation, pools, self.plan.ranked), pools)

    def _searched(self, model: RankerModel, *, read: bool) -> Doubles:
        """NDCG@10 of validation's searches in the order that serving would give them: [S]."""
        pools, dense = self.asked.judged.pools, self.asked.judged.dense
        query = self.asked.judging.query if read else None
        logits = model.logits(self.judging, pools, self.plan.ranked, query)
        orders = [in_search(*each, self.plan) for each in zip(pools, dense, logits, strict=True)]
        return gains(orders, pools)


def in_search(pool: Pool, dense: Floats, logits: Floats, plan: Plan) -> Floats:
    """The final score [N] of what the dense half of a search found, best first.

    As `service.cascade.scorers.found` makes it of a search whose words no item has.
    """
    relevance = np.log((plan.fusion_k + 1) / (plan.fusion_k + np.arange(1, len(dense) + 1)))
    columns = {name: _standard(pool.cross[:, place]) for place, name in enumerate(CROSS)}
    columns |= {"relevance": relevance, "dense": _standard(dense), "rank": _standard(logits)}
    total = np.zeros(len(dense))
    for name, weight in plan.search.items():
        total += weight * columns.get(name, 0.0)
    return total.astype(np.float32)


def _standard(values: NDArray[Any]) -> Doubles:
    values = values.astype(np.float64)
    spread = float(values.std()) if len(values) else 0.0
    return (values - values.mean()) / spread if spread > 0 else np.zeros(len(values))


def _both(first: Requests, second: Requests) -> Requests:
    return Requests(
        *(np.concatenate([getattr(first, name), getattr(second, name)]) for name in Requests.__slots__)
    )
