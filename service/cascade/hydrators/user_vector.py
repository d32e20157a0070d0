"""The user as one query vector."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from models.masks import every
from retrieval.user_tower import UserTower
from service.cascade.query import Query


@dataclass(frozen=True, slots=True)
class UserVector:
    """Runs the user tower over the events of this moment; an empty history has a vector, too."""

    tower: UserTower
    name: ClassVar[str] = "user_tower"
    requires: ClassVar[tuple[str, ...]] = ()

    def hydrate(self, query: Query) -> Query:
        """Fill `state.vector`.

        Raises:
            ArithmeticError: the tower's answer is not finite.
        """
        vector = self.tower.encode(query.user.history, query.user.profile[None])
        if not every(np.isfinite(vector)):
            raise ArithmeticError("the user vector is not finite")
        return query.with_state(replace(query.state, vector=vector))
