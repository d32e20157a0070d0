"""The six trained networks of a run: built from the configuration, saved as plain tensors, loaded again."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn

from models.encode import CROSS
from models.networks.aw_moe import FORMS, AwMoe
from models.networks.hcn import Hcn
from models.networks.item_tower import ItemTower
from models.networks.user_tower import UserTower
from models.schema import Schema
from models.training.config import PreRankerConfig, RankerConfig, TowerConfig, TrainConfig


@dataclass(frozen=True)
class Networks:
    """Each stage has an item tower of its own; all in evaluation mode."""

    items: ItemTower
    users: UserTower
    prerank_items: ItemTower
    preranker: Hcn
    rank_items: ItemTower
    ranker: AwMoe

    @classmethod
    def build(cls, config: TrainConfig, schema: Schema, tokens: NDArray[np.int64]) -> Networks:
        """Untrained networks over item `tokens` [m, W]."""
        return cls(
            item_tower(
                schema,
                tokens,
                config.tower.dim,
                config.tower.id_dropout,
                unit_length=config.tower.length == "unit",
            ),
            user_tower(schema, config.tower),
            item_tower(schema, tokens, config.preranker.dim, config.preranker.id_dropout),
            hcn(schema, config.preranker),
            item_tower(schema, tokens, config.ranker.dim, config.ranker.id_dropout),
            aw_moe(schema, config.ranker, config.tower.dim + 1),
        )

    def save(self, folder: Path) -> None:
        """One safetensors file per network."""
        for name, network in self._named():
            save_file(network.state_dict(), folder / f"{name}.safetensors")

    def load(self, folder: Path) -> Networks:
        """Fill with what `save` wrote, and leave training mode.

        Raises:
            FileNotFoundError, RuntimeError: a file is missing or has other tensors.
        """
        for name, network in self._named():
            network.load_state_dict(load_file(folder / f"{name}.safetensors"))
            network.eval()
        return self

    def _named(self) -> list[tuple[str, nn.Module]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


def item_tower(
    schema: Schema,
    tokens: NDArray[np.int64],
    dim: int,
    id_dropout: float,
    *,
    unit_length: bool = True,
    graph: scipy.sparse.csr_matrix | None = None,
    graph_share: float = 0.0,
) -> ItemTower:
    """An item tower of `dim` over content `tokens` [m, W]; the graph [m, m] is needed for training only."""
    return ItemTower(schema, torch.from_numpy(tokens), dim, id_dropout, unit_length, graph, graph_share)


def user_tower(schema: Schema, own: TowerConfig) -> UserTower:
    """The configured user tower."""
    return UserTower(schema, own.encoder, own.dim, own.layers, own.heads, own.dropout, own.temperature)


def hcn(schema: Schema, own: PreRankerConfig) -> Hcn:
    """The configured pre-ranker."""
    return Hcn(
        schema,
        own.dim,
        own.interests,
        own.iterations,
        own.heads,
        own.dropout,
        own.temperature,
        own.hierarchy,
        own.co_interest,
    )


def aw_moe(schema: Schema, own: RankerConfig, query: int) -> AwMoe:
    """The configured ranker; queries of searches have `query` components."""
    form = FORMS[own.kind]
    sizes = (own.dim, own.experts, own.hidden, own.activation, len(CROSS), query)
    return AwMoe(schema, *sizes, own.dropout, form)
