"""What a stage may be: one verb each, with a return type that forbids mischief.

A stage is pure arithmetic over frozen data. It has no logger, no metric and no `try`: the runner
(`service.cascade.cascade`) times, counts, applies the deadline and catches.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.cascade.candidates import Candidates
from service.cascade.query import Outcome, Query


class Stage(Protocol):
    """Every stage has a name: it labels metrics, degradations and fates."""

    @property
    def name(self) -> str:
        """Lower-case, stable: operators build dashboards on it."""

    @property
    def requires(self) -> tuple[str, ...]:
        """Names of earlier stages without whose result this one cannot run."""


class Hydrator(Stage, Protocol):
    """Does user-side arithmetic once for all later stages. Falls back to the query as it was."""

    def hydrate(self, query: Query) -> Query:
        """The same query with one more part of `query.state` filled in."""


class Source(Stage, Protocol):
    """Proposes candidates. Falls back to being left out."""

    def fetch(self, query: Query) -> Candidates:
        """Distinct rows with a float32 column `score` (higher is better within this source)."""


class Filter(Stage, Protocol):
    """Rules candidates out. Never falls back: a filter that fails, fails the request."""

    def applies(self, query: Query) -> bool:
        """Whether it may rule out anything for this query; else it is neither run nor counted."""

    def keep(self, query: Query, batch: Candidates) -> NDArray[np.bool_]:
        """[N] True = stays. `name` is the reason of those that go."""


class Scorer(Stage, Protocol):
    """Scores candidates; the runner stores the vector as the column `name`. Falls back to a column of NaN."""

    @property
    def optional(self) -> bool:
        """Whether it is left out when the deadline has passed: True for what takes time."""

    def score(self, query: Query, batch: Candidates) -> NDArray[np.float32]:
        """[N] finite floats, higher is better; non-finite values sort last."""


class Selector(Stage, Protocol):
    """Chooses and orders. Falls back to the previous order."""

    def pick(self, query: Query, batch: Candidates, size: int) -> NDArray[np.intp]:
        """At most `size` distinct positions of the batch, best first."""


class Chance(Stage, Protocol):
    """Says how probable a selector's picks were. Falls back to saying nothing."""

    def chances(
        self, query: Query, batch: Candidates, picked: NDArray[np.intp]
    ) -> NDArray[np.float32] | None:
        """[n] of the `picked` positions, each above 0 and at most 1; None = nothing was left to chance."""


class SideEffect(Stage, Protocol):
    """Runs after the answer left, bounded, never on the caller's time."""

    async def after(self, query: Query, outcome: Outcome) -> None:
        """Record what happened."""
