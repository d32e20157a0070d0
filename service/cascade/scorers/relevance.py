"""How well an item answers what was asked, mixed with how well it suits the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from retrieval.neighbours import Neighbours
from service.cascade.candidates import Candidates
from service.cascade.query import Query
from service.cascade.sources.anchor import anchor_of
from service.cascade.sources.complements import Asking
from service.catalogue import Catalogue

Floats = NDArray[np.float32]

TERMS = ("cosine", "together", "alike", "company")
"""What relates an item to another; the latter two are of bundles with dual vectors."""

UNMET = np.float32(0.5)
"""Of an item that nobody met only its content speaks, which says less: so much of its cosine."""


def weighed(terms: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """The sum of terms [N] in 0..1 by their weights, over the sum of the positive ones; at least 0."""
    total = sum(max(weight, 0.0) for weight in weights.values())
    values = sum(np.float32(weights.get(name, 0.0)) * values for name, values in terms.items())
    score: Floats = np.maximum(values / max(total, 1e-12), 0.0).astype(np.float32)
    return score


@dataclass(frozen=True, slots=True)
class Related:
    """How a candidate is related to the anchor: a weighted sum of the terms of `TERMS`, for either relation.

    `cosine` is that of the item vectors, `together` the item-to-item similarity beside the list's best,
    `alike` the cosine of IN with IN vectors and `company` that of IN with OUT ones. A candidate without dual
    vectors, one of the bundle that nobody met, has a part of its `cosine` for both of them.
    """

    weights: Mapping[str, float]
    neighbours: Neighbours
    catalogue: Catalogue
    asking: Asking | None = None
    name: ClassVar[str] = "relevance"
    requires: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[bool] = False

    def score(self, query: Query, batch: Candidates) -> Floats:
        """Relatedness [N] in 0..1; a negative cosine counts 0."""
        anchor = np.array([anchor_of(query)], np.int32)
        direction = self.catalogue.items.take(anchor)[0, :-1]
        cosine = np.maximum(self.catalogue.items.take(batch.rows)[:, :-1] @ direction, 0.0)
        terms = {"cosine": cosine, "together": self._together(anchor, batch)}
        if self.asking is not None:
            terms |= self._dual(query, batch, cosine)
        return weighed(terms, self.weights)

    def _together(self, anchor: NDArray[np.int32], batch: Candidates) -> Floats:
        together = np.zeros(len(batch), np.float32)
        listed = batch.rows < len(self.neighbours.rows)
        if anchor[0] < len(self.neighbours.rows):
            one = np.ones(1, np.float32)
            together[listed] = self.neighbours.score_rows(anchor, one, batch.rows[listed])
        return _relative(together)

    def _dual(self, query: Query, batch: Candidates, cosine: Floats) -> Mapping[str, Floats]:
        assert self.asking is not None
        dual, vector = self.asking.complements, self.asking.vector(query)
        known = dual.knows(batch.rows)
        found = {"alike": dual.alike(vector, batch.rows), "company": dual.score(vector, batch.rows)}
        return {
            name: np.where(known, np.maximum(values, 0.0), UNMET * cosine) for name, values in found.items()
        }


@dataclass(frozen=True, slots=True)
class Blend:
    """`relevance` plus `weight` times the candidate's place, 1 the best to 0, in the user's own order.

    The user's order is by the column `rank`, else by `prerank`; if neither ran, relevance stands alone.
    """

    weight: float
    name: ClassVar[str] = "blend"
    requires: ClassVar[tuple[str, ...]] = ("relevance",)
    optional: ClassVar[bool] = False

    def score(self, query: Query, batch: Candidates) -> Floats:
        """Blended scores [N], not negative."""
        columns = (batch.columns.get(by) for by in ("rank", "prerank"))
        personal = next((one for one in columns if one is not None and np.isfinite(one).any()), None)
        if personal is None:
            return batch["relevance"]
        order = np.argsort(np.where(np.isfinite(personal), personal, -np.inf), kind="stable")
        place = np.empty(len(batch), np.float32)
        place[order] = np.arange(len(batch)) / max(len(batch) - 1, 1)
        blended: Floats = batch["relevance"] + np.float32(self.weight) * place
        return blended


def _relative(scores: Floats) -> Floats:
    best = np.nanmax(scores, initial=0.0)
    relative: Floats = np.nan_to_num(scores / best if best > 0 else scores * 0, nan=0.0)
    return relative
