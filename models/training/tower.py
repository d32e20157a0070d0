"""Train the item and user towers on the next event at every place of every history."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.data.baselines import interactions
from models.data.splits import known_items
from models.networks.item_tower import ItemTower
from models.networks.user_tower import UserTower
from models.training.batches import Batch, Schedule, by_length, first_used, fit, in_blocks
from models.training.config import TowerConfig
from models.training.features import Features
from models.training.judge import Judge, Kept
from models.training.losses import retrieval_loss
from models.training.networks import item_tower, user_tower
from models.training.spectral import item_graph, spectral_vectors
from models.training.timeline import Requests
from models.training.views import ItemViews

Floats = NDArray[np.float32]

BLOCK = 256


@dataclass(frozen=True)
class Towers:
    """Trained towers; `best` is the validation NDCG@10 after the `epoch` epochs that were kept."""

    items: ItemTower
    users: UserTower
    best: float
    epoch: int

    def item_vectors(self) -> Floats:
        """[m, d + 1]."""
        with torch.no_grad():
            return self.items.eval().all().numpy()

    def user_vectors(self, batch: Batch) -> Floats:
        """[B, d + 1], of events that are read as a bundle has them, in half precision."""
        self.users.eval()
        with torch.no_grad():
            table = self.items.eval().all().half().float()
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
    """Train on the events `train`; keep the start or the epoch that ranks `validation` best, over the whole
    catalogue.

    Without any validation request the last epoch stays.
    """
    torch.manual_seed(seed)
    items, users = started(features, train, config, seed)
    cut = features.windows(train, ordered=users.ordered)
    windows = Batch.of(cut.history, features.profiles[cut.user])
    targets = torch.from_numpy(cut.target.astype(np.int64))
    frequency = torch.bincount(targets[targets >= 0], minlength=len(features.items)).float()
    loss_of = retrieval_loss(config.loss, frequency, config.negatives)
    views = ItemViews(features.items, items.widths) if config.views_weight else None
    generator = torch.Generator().manual_seed(seed)
    used = (targets >= 0).sum(1)

    def loss(index: Tensor) -> Tensor:
        items.train()
        users.train()
        batch = windows.at(index)
        start = first_used(batch.mask | (targets[index] >= 0))
        batch, target = batch.shortened(start), targets[index, start:]
        table = items.all()
        read = users.positions if users.ordered else users.others
        queries = read(batch.events(table), batch.kind, batch.gap, batch.mask, batch.profile)
        real = target >= 0
        value = loss_of(queries[real], table, target[real])
        return value if views is None else value + config.views_weight * views.loss(items)

    held_out = Judge(features, validation)
    best = Kept(-1.0, 0, {}, {})

    def after(epochs: int) -> str:
        nonlocal best
        value = _judged(Towers(items, users, 0.0, 0), held_out) if len(validation) else 0.0
        if value > best.ndcg or not len(validation):
            best = Kept(value, epochs, copy.deepcopy(items.state_dict()), copy.deepcopy(users.state_dict()))
        return f"validation NDCG@10 {value:.4f}"

    after(0)
    fit(
        "towers",
        [*items.parameters(), *users.parameters()],
        Schedule(config.epochs, config.learning_rate, config.weight_decay),
        lambda epoch: by_length(used, config.batch, generator),
        loss,
        lambda epoch: after(epoch + 1),
    )
    items.load_state_dict(best.items)
    users.load_state_dict(best.users)
    items.settle(torch.from_numpy(known_items(features.dataset, train)))
    return Towers(items.eval(), users.eval(), best.ndcg, best.epoch)


def _judged(towers: Towers, held_out: Judge) -> float:
    vectors, queries = towers.item_vectors(), towers.user_vectors(held_out.batch)
    return held_out.ndcg(lambda block: queries[block] @ vectors.T)


def started(
    features: Features, train: NDArray[np.int64], config: TowerConfig, seed: int
) -> tuple[ItemTower, UserTower]:
    """Towers before training, with what the events `train` say of the items at once."""
    seen = interactions(features.dataset, train)
    graph = item_graph(seen, config.graph_neighbours) if config.graph_share else None
    items = item_tower(
        features.schema,
        features.items,
        config.dim,
        config.id_dropout,
        unit_length=config.length == "unit",
        graph=graph,
        graph_share=config.graph_share,
    )
    if config.start != "random":
        vectors = spectral_vectors(seen, config.dim, seed, lengths=config.start == "low-pass")
        with torch.no_grad():
            items.id.weight.copy_(torch.from_numpy(vectors))
    return items, user_tower(features.schema, config)
