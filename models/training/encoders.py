"""What turns users, items and queries into vectors: learned together, refitted together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes

from models.training.ground import Ground
from models.training.preranker import PreRankerModel, train_preranker
from models.training.query import train_query, usable
from models.training.query_model import QueryModel
from models.training.tables import Space
from models.training.timeline import Requests
from models.training.tower import Towers, train_towers
from retrieval.text_encoder import TextEncoder

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Encoders:
    """All of one training: queries, clusters and index live in the space of these towers and no others."""

    towers: Towers
    preranker: PreRankerModel
    query: QueryModel
    space: Space

    @classmethod
    def learn(cls, ground: Ground, text: TextEncoder | None) -> Encoders:
        """Learn from the early events, for as many epochs as rank validation best."""
        return _learned(ground, ground.early, ground.validation, text)

    def refitted(self, ground: Ground, text: TextEncoder | None) -> Encoders:
        """The same settings, for as many epochs as were kept, learned from every event before the test.

        A service that knew nothing of its users' newest events would be a worse one; the stages after these
        have learned what such scores are worth from events that the encoders had not seen (our choice).
        """
        nobody = ground.validation.at(slice(0, 0))
        towers, preranker = ground.config.tower, ground.config.preranker
        config = ground.config.model_copy(
            update={
                "tower": towers.model_copy(update={"epochs": self.towers.epoch}),
                "preranker": preranker.model_copy(update={"epochs": self.preranker.epoch}),
            }
        )
        events = ground.split.train_and_validation
        again = _learned(replace(ground, config=config), events, nobody, text)
        return replace(
            again,
            towers=replace(again.towers, best=self.towers.best),
            preranker=replace(again.preranker, best=self.preranker.best),
        )


def turn(before: Floats, after: Floats) -> Floats:
    """The rotation [d, d] that takes directions of one item space [m, d + 1] closest to those of another.

    Spaces that are learned anew lie another way round; biases, which stand last, do not turn.
    """
    found: NDArray[Any] = orthogonal_procrustes(after[:, :-1], before[:, :-1])[0]
    return found.astype(np.float32)


def _learned(
    ground: Ground, events: NDArray[np.int64], validation: Requests, text: TextEncoder | None
) -> Encoders:
    dataset, features, config = ground.dataset, ground.features, ground.config
    with ground.timed("towers"):
        towers = train_towers(features, events, validation, config.tower, config.seed)
    with ground.timed("preranker"):
        preranker = train_preranker(features, events, validation, towers.items, config.preranker, config.seed)
    vectors = towers.item_vectors()
    with ground.timed("query"):
        asked = usable(dataset, ground.split, config.split.protocol)
        query = train_query(dataset, asked, vectors, config.query, config.seed, text)
    with ground.timed("retrieval"):
        space = Space.of(vectors, config.retrieval, config.seed, config.threads, dataset.item_ids)
    return Encoders(towers, preranker, query, space)
