"""Train the HCN pre-ranker on the next event after sampled histories."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.networks.hcn import Hcn, overlap, pair_cosines
from models.networks.item_tower import ItemTower
from models.training.batches import Batch, Schedule, fit, in_blocks, shuffled
from models.training.config import PreRankerConfig
from models.training.features import Features
from models.training.judge import Judge, Kept
from models.training.losses import retrieval_loss
from models.training.networks import hcn, item_tower
from models.training.timeline import Requests

Floats = NDArray[np.float32]

BLOCK = 512


@dataclass(frozen=True)
class PreRankerModel:
    """A trained pre-ranker; `best` is the validation NDCG@10 after the `epoch` epochs that were kept."""

    items: ItemTower
    users: Hcn
    best: float
    epoch: int

    def item_vectors(self) -> Floats:
        """[m, d + 1]."""
        with torch.no_grad():
            return self.items.eval().all().numpy()

    def interests(self, batch: Batch) -> Floats:
        """[B, K, d + 1]."""
        self.users.eval()
        with torch.no_grad():
            table = self.items.eval().all()
            parts = [
                encode_interests(self.users, table, batch.at(torch.arange(block.start, block.stop)))
                for block in list(in_blocks(len(batch), BLOCK)) or [slice(0, 0)]
            ]
        return torch.cat(parts).numpy()


def encode_interests(users: Hcn, table: Tensor, batch: Batch) -> Tensor:
    """Interests [B, K, d + 1] after the newest event."""
    vectors: Tensor = users(
        batch.events(table), batch.kind, batch.gap, batch.age, batch.recent, batch.mask, batch.profile
    )
    return vectors


def train_preranker(
    features: Features,
    train: NDArray[np.int64],
    validation: Requests,
    start: ItemTower,
    config: PreRankerConfig,
    seed: int,
) -> PreRankerModel:
    """Train on requests at the events `train`; keep the epoch that ranks `validation` best.

    Without any validation request the last epoch stays. The item table starts from the retrieval tower's,
    `start`.
    """
    torch.manual_seed(seed)
    items = item_tower(features.schema, features.items, config.dim, config.id_dropout)
    items.start_from(start)
    users = hcn(features.schema, config)
    requests = features.timeline.requests(train)
    targets = torch.from_numpy(requests.target.astype(np.int64))
    frequency = torch.bincount(targets, minlength=len(features.items)).float()
    loss_of = retrieval_loss(config.loss, frequency, config.negatives)
    generator = torch.Generator().manual_seed(seed)

    def loss(index: Tensor) -> Tensor:
        items.train()
        users.train()
        batch = features.batch(requests.at(index.numpy()))
        table = items.all()
        interests = encode_interests(users, table, batch)
        redundancy = overlap(interests, config.overlap_margin)
        return loss_of(interests, table, targets[index]) + config.overlap_weight * redundancy

    held_out = Judge(features, validation)
    best = Kept(-1.0, 0, {}, {})

    def after_epoch(epoch: int) -> str:
        nonlocal best
        value = _judged(PreRankerModel(items, users, 0.0, 0), held_out) if len(validation) else 0.0
        if value > best.ndcg or not len(validation):
            best = Kept(
                value, epoch + 1, copy.deepcopy(items.state_dict()), copy.deepcopy(users.state_dict())
            )
        return f"validation NDCG@10 {value:.4f}"

    fit(
        "pre-ranker",
        [*items.parameters(), *users.parameters()],
        Schedule(config.epochs, config.learning_rate),
        lambda epoch: shuffled(len(requests), config.batch, generator, config.requests),
        loss,
        after_epoch,
    )
    items.load_state_dict(best.items)
    users.load_state_dict(best.users)
    return PreRankerModel(items.eval(), users.eval(), best.ndcg, best.epoch)


def _judged(model: PreRankerModel, held_out: Judge) -> float:
    return held_out.ndcg(best_of(model.interests(held_out.batch), model.item_vectors()))


def interest_cosine(interests: Floats) -> Floats:
    """Mean cosine over pairs of each user's interests [B, K, d + 1], biases left out: [B]; 0 if K is 1."""
    cosines = pair_cosines(torch.from_numpy(interests))
    mean: Floats = (cosines.sum(-1) / max(cosines.shape[1], 1)).numpy()
    return mean


def best_of(interests: Floats, items: Floats):  # type: ignore[no-untyped-def]
    """Score function of a `Judge`: the best interest's product with every item."""
    return lambda block: (interests[block] @ items.T).max(axis=1)
