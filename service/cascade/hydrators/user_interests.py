"""The user as a mixture of interests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from models.plan import Plan
from models.schema import Schema
from retrieval.interests import InterestModel
from service.cascade.query import Query

_DAY_MS = 86_400_000.0


@dataclass(frozen=True, slots=True)
class UserInterests:
    """Mixes the user's events with those of similar users; without either, all users stand in.

    What the user pinned and muted is obeyed.
    """

    model: InterestModel
    event_weights: NDArray[np.float32]
    """By event-kind token."""
    name: ClassVar[str] = "user_interests"
    requires: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def of(cls, model: InterestModel, schema: Schema, plan: Plan) -> UserInterests:
        """The hydrator of a plan."""
        weights = [1.0, *(plan.event_weights.get(kind, 1.0) for kind in schema.event_kinds)]
        return cls(model, np.array(weights, np.float32))

    def hydrate(self, query: Query) -> Query:
        """Fill `state.interests`."""
        user = query.user
        ages_days = ((query.now_ms - user.timestamps) / _DAY_MS).astype(np.float32)
        weights = self.event_weights[user.kinds]
        interests = self.model.interests(query.state.vector, user.rows, weights, ages_days, query.preferences)
        return query.with_state(replace(query.state, interests=interests))
