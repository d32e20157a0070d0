"""How well an item answers what was asked, mixed with how well it suits the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from retrieval.neighbours import Neighbours
from service.cascade.candidates import Candidates
from service.cascade.query import Query
from service.cascade.sources.anchor import anchor_of
from service.catalogue import Catalogue

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Related:
    """Likeness to the anchor: the mean of the cosine and of the relative item-to-item similarity."""

    neighbours: Neighbours
    catalogue: Catalogue
    name: ClassVar[str] = "relevance"
    requires: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[bool] = False

    def score(self, query: Query, batch: Candidates) -> Floats:
        """Likeness [N] in 0..1; a negative cosine counts 0."""
        anchor = np.array([anchor_of(query)], np.int32)
        direction = self.catalogue.items.take(anchor)[0, :-1]
        cosine = self.catalogue.items.take(batch.rows)[:, :-1] @ direction
        together = np.zeros(len(batch), np.float32)
        listed = batch.rows < len(self.neighbours.rows)
        if anchor[0] < len(self.neighbours.rows):
            one = np.ones(1, np.float32)
            together[listed] = self.neighbours.score_rows(anchor, one, batch.rows[listed])
        likeness: Floats = np.maximum(cosine, 0.0) + _relative(together)
        return likeness * np.float32(0.5)


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
