"""The cheap score of every candidate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ranking.preranker import PreRanker
from service.cascade.candidates import Candidates
from service.cascade.query import Query


@dataclass(frozen=True, slots=True)
class PreRank:
    """HCN: the best of the user's long- and short-term interests . item."""

    preranker: PreRanker
    name: ClassVar[str] = "prerank"
    requires: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[bool] = True

    def score(self, query: Query, batch: Candidates) -> NDArray[np.float32]:
        """Inner products [N]."""
        interests = self.preranker.interests(query.user.history, query.user.profile[None])
        return self.preranker.score(interests, batch.rows)
