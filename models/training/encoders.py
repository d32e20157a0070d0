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
        towers, preranker, space = _learned(ground, ground.early, ground.validation)
        with ground.timed("query"):
            query = _heard(ground, towers, text)
        return cls(towers, preranker, query, space)

    def refitted(self, ground: Ground, text: TextEncoder | None) -> Encoders:
        """The same settings, for as many epochs as were kept, learned from every event before the test.

        A service that knew nothing of its users' newest events would be a worse one; the stages after these
        have learned what such scores are worth from events that the encoders had not seen (our choice).
        """
        again = self.again(ground, ground.split.train_and_validation)
        with ground.timed("query"):
            query = _heard(ground, again.towers, text)
        return replace(again, query=query)

    def judges(self, ground: Ground) -> Encoders:
        """What finds the candidates of validation's requests, by which quotas, cut and ranker are chosen.

        Under global-time the encoders would be older there than those of a refit are in service, by all of
        the ranker's events, and scores that are counted would win over those that are learned; so validation
        is judged by a refit before it (our choice).
        """
        config = ground.config
        if not (config.refit and config.split.protocol == "global-time") or config.ranker.samples != "events":
            return self
        return self.again(ground, ground.split.train)

    def again(self, ground: Ground, events: NDArray[np.int64]) -> Encoders:
        """Towers and pre-ranker anew from so many events; the query tower stays that of another space."""
        nobody = ground.validation.at(slice(0, 0))
        towers, preranker = ground.config.tower, ground.config.preranker
        config = ground.config.model_copy(
            update={
                "tower": towers.model_copy(update={"epochs": self.towers.epoch}),
                "preranker": preranker.model_copy(update={"epochs": self.preranker.epoch}),
            }
        )
        anew, before, space = _learned(replace(ground, config=config), events, nobody)
        return Encoders(
            replace(anew, best=self.towers.best),
            replace(before, best=self.preranker.best),
            self.query,
            space,
        )


def turn(before: Floats, after: Floats) -> Floats:
    """The rotation [d, d] that takes directions of one item space [m, d + 1] closest to those of another.

    Spaces that are learned anew lie another way round; biases, which stand last, do not turn.
    """
    found: NDArray[Any] = orthogonal_procrustes(after[:, :-1], before[:, :-1])[0]
    return found.astype(np.float32)


def _learned(
    ground: Ground, events: NDArray[np.int64], validation: Requests
) -> tuple[Towers, PreRankerModel, Space]:
    features, config = ground.features, ground.config
    with ground.timed("towers"):
        towers = train_towers(features, events, validation, config.tower, config.seed)
    with ground.timed("preranker"):
        preranker = train_preranker(features, events, validation, towers.items, config.preranker, config.seed)
    with ground.timed("retrieval"):
        names = ground.dataset.item_ids
        space = Space.of(towers.item_vectors(), config.retrieval, config.seed, config.threads, names)
    return towers, preranker, space


def _heard(ground: Ground, towers: Towers, text: TextEncoder | None) -> QueryModel:
    dataset, config = ground.dataset, ground.config
    asked = usable(dataset, ground.split, config.split.protocol)
    return train_query(dataset, asked, towers.item_vectors(), config.query, config.seed, text)
