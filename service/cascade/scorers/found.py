"""What a search found: how well an item answers the words, and the user beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from retrieval.fusion import reciprocal_ranks
from service.cascade.candidates import Candidates
from service.cascade.query import Query

Floats = NDArray[np.float32]

LISTS = ("lexical", "dense")
"""Sources that are fused."""
FEATURES = ("relevance", "lexical", "dense", "tower", "interest", "similar", "popular", "prerank", "rank")
"""What an item's place in a search may depend on; `service.replay` fits their weights (`plan.search`).

relevance   log of the fused score                lexical   BM25 over the best BM25 of the request, 0 without
dense       query . item, standardised            others    the column of that name, standardised

Standardised over the request's candidates; a value that is not there counts as the least of them.
"""


@dataclass(frozen=True, slots=True)
class Fused:
    """The sources' ranks as one score (`retrieval.fusion`); one that failed or is absent has no say."""

    weights: Mapping[str, float]
    k: float
    name: ClassVar[str] = "relevance"
    requires: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[bool] = False

    def score(self, query: Query, batch: Candidates) -> Floats:
        """Fused scores [N] in 0..1."""
        found = {name: batch.columns.get(f"{name}_score") for name in LISTS}
        lists = {name: scores for name, scores in found.items() if scores is not None}
        return reciprocal_ranks(lists, self.weights, self.k) if lists else np.ones(len(batch), np.float32)


@dataclass(frozen=True, slots=True)
class Suiting:
    """exp(sum of weight x feature), divided by the best: words and user together (our choice).

    The weights are those of a listwise softmax over candidates, so a boost of factor f adds ln f to a logit.
    """

    name: str
    weights: Mapping[str, float]
    requires: ClassVar[tuple[str, ...]] = ("relevance",)
    optional: ClassVar[bool] = False

    def score(self, query: Query, batch: Candidates) -> Floats:
        """Scores [N] in 0..1."""
        logits = np.zeros(len(batch), np.float64)
        for name, weight in self.weights.items():
            if weight:
                logits += weight * feature(name, batch)
        suiting: Floats = np.exp(logits - logits.max(initial=-np.inf)).astype(np.float32)
        return suiting


def feature(name: str, batch: Candidates) -> NDArray[np.float64]:
    """One of `FEATURES` for N candidates: [N], 0 where its stage did not run."""
    column = batch.columns.get(f"{name}_score" if name in LISTS else name)
    if column is None or not (finite := np.isfinite(column)).any():
        return np.zeros(len(batch))
    values = np.where(finite, column, column[finite].min()).astype(np.float64)
    if name == "relevance":
        return np.log(np.maximum(values, 1e-6))
    if name == "lexical":
        return np.where(finite, values / max(float(values.max()), 1e-6), 0.0)
    spread = float(values.std())
    return (values - values.mean()) / spread if spread > 0 else np.zeros(len(batch))
