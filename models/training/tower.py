"""Train the item and user towers on the next event at every place of every history."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.networks.item_tower import ItemTower
from models.networks.user_tower import UserTower
from models.training.batches import Batch, Schedule, fit, in_blocks, shuffled
from models.training.config import TowerConfig
from models.training.features import Features
from models.training.judge import Judge
from models.training.losses import retrieval_loss
from models.training.networks import item_tower, user_tower
from models.training.timeline import Requests

Floats = NDArray[np.float32]

BLOCK = 256


@dataclass(frozen=True)
class Towers:
    """Trained towers; `best` is the validation NDCG@10 of the epoch that was kept."""

    items: ItemTower
    users: UserTower
    best: float

    def item_vectors(self) -> Floats:
        """[m, d + 1]."""
        with torch.no_grad():
            return self.items.eval().all().numpy()

    def user_vectors(self, batch: Batch) -> Floats:
        """[B, d + 1]."""
        self.users.eval()
        with torch.no_grad():
            table = self.items.eval().all()
            parts = [
                encode_users(self.users, table, batch.at(torch.arange(block.start, block.stop)))
                for block in in_blocks(len(batch), BLOCK)
            ]
        return torch.cat(parts).numpy()


def encode_users(users: UserTower, table: Tensor, batch: Batch) -> Tensor:
    """Query vectors [B, d + 1] after the newest event."""
    vectors: Tensor = users(batch.events(table), batch.kind, batch.gap, batch.mask, batch.profile)
    return vectors


def train_towers(
    features: Features, train: NDArray[np.int64], validation: Requests, config: TowerConfig, seed: int
) -> Towers:
    """Train on the events `train`; keep the epoch that ranks `validation` best over the whole catalogue."""
    torch.manual_seed(seed)
    schema, timeline = features.schema, features.timeline
    items = item_tower(schema, features.items, config.dim, config.id_dropout)
    users = user_tower(schema, config)
    cut = timeline.windows(schema, train)
    windows = Batch.of(cut.history, features.profiles[cut.user])
    targets = torch.from_numpy(cut.following.astype(np.int64))
    frequency = torch.bincount(targets[targets >= 0], minlength=len(features.items)).float()
    loss_of = retrieval_loss(config.loss, frequency, config.negatives)
    generator = torch.Generator().manual_seed(seed)

    def loss(index: Tensor) -> Tensor:
        items.train()
        users.train()
        batch, target = windows.at(index), targets[index]
        table = items.all()
        queries = users.positions(batch.events(table), batch.kind, batch.gap, batch.mask, batch.profile)
        real = target >= 0
        return loss_of(queries[real], table, target[real])

    held_out = Judge(features, validation)
    best = (-1.0, items.state_dict(), users.state_dict())

    def after_epoch(epoch: int) -> str:
        nonlocal best
        towers = Towers(items, users, 0.0)
        vectors, queries = towers.item_vectors(), towers.user_vectors(held_out.batch)
        value = held_out.ndcg(lambda block: queries[block] @ vectors.T)
        if value > best[0]:
            best = (value, copy.deepcopy(items.state_dict()), copy.deepcopy(users.state_dict()))
        return f"validation NDCG@10 {value:.4f}"

    fit(
        "towers",
        [*items.parameters(), *users.parameters()],
        Schedule(config.epochs, config.learning_rate),
        lambda epoch: shuffled(len(windows), config.batch, generator),
        loss,
        after_epoch,
    )
    items.load_state_dict(best[1])
    users.load_state_dict(best[2])
    return Towers(items.eval(), users.eval(), best[0])
