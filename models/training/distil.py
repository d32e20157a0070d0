"""Teach the pre-ranker the ranker's order of what was retrieved, so that the cut keeps what will win."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.encode import CROSS
from models.networks.hcn import overlap
from models.plan import ONLY_PRERANK
from models.training.batches import Schedule, fit, shuffled
from models.training.config import PreRankerConfig
from models.training.features import Features
from models.training.funnel import Pool, ordered
from models.training.gains import funnel_ndcg
from models.training.judge import Judge
from models.training.networks import item_tower
from models.training.preranker import PreRankerModel, best_of, encode_interests
from models.training.ranker import RankerModel
from models.training.timeline import Requests

Floats = NDArray[np.float32]
State = dict[str, Tensor]

TOP = 20
"""Of the ranker's list over all candidates, how many the cut should keep."""
BATCH = 32
"""Requests per step; each brings all of its candidates."""
LESSONS = 4000
"""Requests at most that are taught."""
JUDGED = 1000
"""Held-out requests at most over whose every candidate the ranker is asked."""
EVERYTHING = 1 << 30
_ABSENT = -1e9
_PRERANK = CROSS.index("prerank")


@dataclass(frozen=True, slots=True)
class Asked:
    """Requests, and the candidates that the funnel gave each of them."""

    requests: Requests
    pools: list[Pool]

    def at_most(self, count: int) -> Asked:
        """So many of them at most, evenly spread."""
        if len(self.pools) <= count:
            return self
        chosen = np.linspace(0, len(self.pools) - 1, count).astype(np.int64)
        return Asked(self.requests.at(chosen), [self.pools[r] for r in chosen])


def funnel_recall(logits: Sequence[Floats], width: int) -> NDArray[np.float64]:
    """Of the ranker's best `TOP` over all candidates, the share among the pre-ranker's best `width`: [R].

    `logits` are each request's, in the pre-ranker's order. Of fewer candidates all are the best; a request
    without any loses nothing.
    """
    shares = np.ones(len(logits))
    for r, values in enumerate(logits):
        if len(values):
            best = np.argsort(-values, kind="stable")[:TOP]
            shares[r] = (best < width).mean()
    return shares


def agreement(
    features: Features, ranker: RankerModel, asked: Asked, width: int
) -> tuple[NDArray[np.float64], float]:
    """Funnel recall of each request [R], and NDCG@10 of the ranker's list of what the cut leaves.

    Of more than `JUDGED` requests, so many are asked.
    """
    asked = asked.at_most(JUDGED)
    logits = ranker.logits(features.batch(asked.requests), asked.pools, EVERYTHING)
    return funnel_recall(logits, width), funnel_ndcg([each[:width] for each in logits], asked.pools)


def reordered(
    features: Features, preranker: PreRankerModel, asked: Asked, cut: Mapping[str, float] = ONLY_PRERANK
) -> Asked:
    """The same candidates with this pre-ranker's scores, cut anew: retrieval does not depend on it."""
    items = preranker.item_vectors()
    interests = preranker.interests(features.batch(asked.requests))
    pools = []
    for r, pool in enumerate(asked.pools):
        target = int(asked.requests.target[r])
        scores = (items[np.append(pool.rows, target)] @ interests[r].T).max(axis=1)
        cross, target_cross = pool.cross.copy(), pool.target_cross.copy()
        cross[:, _PRERANK], target_cross[_PRERANK] = scores[:-1], scores[-1]
        pools.append(ordered(Pool(pool.rows, cross, target_cross, pool.place), target, cut))
    return Asked(asked.requests, pools)


def rescored(
    features: Features, preranker: PreRankerModel, requests: Requests, rows: NDArray[np.int32], cross: Floats
) -> Floats:
    """Cross features [R, U, X] of `rows` [R, U] with this pre-ranker's scores."""
    items = preranker.item_vectors()
    interests = preranker.interests(features.batch(requests))
    changed = cross.copy()
    changed[..., _PRERANK] = np.stack(
        [(items[own] @ each.T).max(axis=1) for own, each in zip(rows, interests, strict=True)]
    )
    return changed


def distil(
    features: Features,
    preranker: PreRankerModel,
    ranker: RankerModel,
    lessons: Asked,
    held_out: Asked,
    width: int,
    config: PreRankerConfig,
    seed: int,
    cut: Mapping[str, float] = ONLY_PRERANK,
) -> PreRankerModel:
    """Teach a copy of the pre-ranker the ranker's scores; the given one where that did not help.

    The loss is the cross-entropy of the student's softmax over a request's candidates against the ranker's
    (listwise; our choice), and the redundancy term as before. The ranker reads the pre-ranker's score, and is
    left as it is: each epoch is judged with the ranker that will serve beside it, on held-out requests with
    the student's own scores and order. Kept is the epoch with the best funnel recall among those whose final
    list is no worse than before.
    """
    able = np.array([r for r, pool in enumerate(lessons.pools) if len(pool.rows) > 1], np.int64)
    if not (config.distill_epochs and len(able) and held_out.pools):
        return preranker
    torch.manual_seed(seed)
    chosen = Asked(lessons.requests.at(able), [lessons.pools[r] for r in able]).at_most(LESSONS)
    asked = held_out.at_most(JUDGED)
    items = item_tower(features.schema, features.items, config.dim, config.id_dropout)
    items.load_state_dict(preranker.items.state_dict())
    users = copy.deepcopy(preranker.users)
    student = PreRankerModel(items, users, preranker.best, preranker.epoch)
    before, floor = agreement(features, ranker, asked, width)
    best: tuple[float, State, State] = (float(before.mean()), {}, {})

    def after_epoch(epoch: int) -> str:
        nonlocal best
        recalls, ndcg = agreement(features, ranker, reordered(features, student, asked, cut), width)
        found = float(recalls.mean())
        if ndcg >= floor and found > best[0]:
            best = (found, copy.deepcopy(items.state_dict()), copy.deepcopy(users.state_dict()))
        return (
            f"funnel recall {found:.4f}, before {before.mean():.4f}; NDCG@10 {ndcg:.4f}, before {floor:.4f}"
        )

    generator = torch.Generator().manual_seed(seed)
    fit(
        "distillation",
        [*(items.parameters() if config.distill_items else []), *users.parameters()],
        Schedule(config.distill_epochs, config.distill_learning_rate),
        lambda epoch: shuffled(len(chosen.pools), BATCH, generator),
        _lessons(features, ranker, student, chosen, config),
        after_epoch,
    )
    if not best[1]:
        return preranker
    items.load_state_dict(best[1])
    users.load_state_dict(best[2])
    items.eval()
    users.eval()
    judge = Judge(features, held_out.requests)
    return replace(student, best=judge.ndcg(best_of(student.interests(judge.batch), student.item_vectors())))


def _lessons(
    features: Features, ranker: RankerModel, student: PreRankerModel, lessons: Asked, config: PreRankerConfig
) -> Callable[[Tensor], Tensor]:
    """The loss of a batch of indices into the lessons, each with something to order."""
    batch = features.batch(lessons.requests)
    logits = ranker.logits(batch, lessons.pools, EVERYTHING)

    def loss(index: Tensor) -> Tensor:
        student.items.train(config.distill_items)
        student.users.train()
        table = student.items.all()
        if not config.distill_items:
            table = table.detach()
        rows, taught = _padded(
            [lessons.pools[r].rows for r in index.tolist()], [logits[r] for r in index.tolist()]
        )
        interests = encode_interests(student.users, table, batch.at(index))
        scores = (F.embedding(rows, table) @ interests.transpose(1, 2)).amax(-1)
        scores = scores.masked_fill(taught == _ABSENT, _ABSENT)
        wanted = torch.softmax(taught, dim=1)
        distance = -(wanted * F.log_softmax(scores, dim=1)).sum(1).mean()
        return distance + config.overlap_weight * overlap(interests, config.overlap_margin)

    return loss


def _padded(rows: Sequence[NDArray[np.int32]], logits: Sequence[Floats]) -> tuple[Tensor, Tensor]:
    """Rows and logits [B, N]; row 0 with `_ABSENT` at pads."""
    shape = (len(rows), max(len(each) for each in rows))
    padded, taught = np.zeros(shape, np.int64), np.full(shape, _ABSENT, np.float32)
    for b, (own, values) in enumerate(zip(rows, logits, strict=True)):
        padded[b, : len(own)], taught[b, : len(own)] = own, values
    return torch.from_numpy(padded), torch.from_numpy(taught)
