"""The dear score of few candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from models.encode import CROSS, cross_features
from models.masks import every
from ranking.ranker import Ranker
from service.cascade.candidates import Candidates
from service.cascade.query import Query


@dataclass(frozen=True, slots=True)
class Rank:
    """AW-MoE over the user's events, each candidate and the cross features; one that fell back reads 0.

    In a search it reads the query as well; where the query tower said nothing, it ranks a recommendation.
    """

    ranker: Ranker
    name: ClassVar[str] = "rank"
    requires: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[bool] = True

    def score(self, query: Query, batch: Candidates) -> NDArray[np.float32]:
        """Logits [N]."""
        cross = cross_features({name: batch[name] for name in CROSS})
        there = np.isfinite(cross)
        finite = cross if every(there) else np.where(there, cross, np.float32(0.0))
        user = query.user
        return self.ranker.score(user.history, user.profile[None], batch.rows, finite, query.state.words)
