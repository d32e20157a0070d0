"""Personalised item-to-item in two steps (PI2I, arXiv 2601.16815): generous lists, then a scorer per user.

The first step are the item-to-item lists of the recent events; the second prunes their union for this user
with a small network over user x trigger x target. The network's form and features are our choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.artifacts import taken
from retrieval.distinct import representatives
from retrieval.neighbours import Neighbours
from retrieval.order import descending

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]

FEATURES = ("similarity", "rank", "recency", "trigger", "target", "taste")
"""Of a pair: log of the list's similarity and of the place in the list; log of the trigger's place among the
recent events; log1p of the popularity of trigger and target; the user vector . the target's vector."""
_LEAST = 1e-4


@dataclass(frozen=True, slots=True)
class PairScorer:
    """A network of one hidden layer over F features, H units: relu(x W1 + b1) w2, in plain arrays.

    `first` [F, H], `bias` [H], `second` [H]; the features' mean and spread are folded into the first layer.
    """

    first: Floats
    bias: Floats
    second: Floats

    def __post_init__(self) -> None:
        features, hidden = self.first.shape
        if (features, self.bias.shape, self.second.shape) != (len(FEATURES), (hidden,), (hidden,)):
            raise ValueError(
                f"layers of shapes {self.first.shape}, {self.bias.shape}, {self.second.shape} do not fit "
                f"each other and {len(FEATURES)} features"
            )

    def __call__(self, features: Floats) -> Floats:
        """Logits [P] of pairs [P, F]."""
        hidden: Floats = features @ self.first
        hidden += self.bias
        np.maximum(hidden, np.float32(0.0), out=hidden)
        logits: Floats = hidden @ self.second
        return logits


@dataclass(frozen=True, slots=True)
class Pairs:
    """P trigger-target pairs of one user over D distinct targets `rows` [D].

    `features` [P, F]; `target` [P] is each pair's position in `rows`.
    """

    rows: Rows
    target: Rows
    features: Floats


def pairs_of(
    neighbours: Neighbours,
    history: Rows,
    popularity: Floats,
    vectors: Floats,
    user_vector: Floats,
) -> Pairs:
    """All pairs that the lists of R recent events `history` [R], newest first, hold.

    `popularity` [m] counts, `vectors` [m, d + 1], `user_vector` [d + 1]. What the user has met is among the
    targets.
    """
    near = neighbours.rows[history]  # R k
    place = np.flatnonzero(near.ravel() >= 0)
    recency, rank = np.divmod(place, near.shape[1])
    targets = near.ravel()[place]
    leader = representatives(targets, len(neighbours.rows))
    first = leader == np.arange(len(targets), dtype=np.int32)
    rows = targets[first]
    target = (np.cumsum(first) - 1)[leader].astype(np.int32)
    fame = np.log1p(popularity[rows])
    taste = taken(vectors, rows) @ user_vector
    features = np.empty((len(targets), len(FEATURES)), np.float32)
    features[:, 0] = np.log(neighbours.scores[history].ravel()[place] + _LEAST)
    features[:, 1] = _LOG[rank]
    features[:, 2] = _LOG[np.minimum(recency, len(_LOG) - 1)]
    features[:, 3] = np.log1p(popularity[history])[recency]
    features[:, 4] = fame[target]
    features[:, 5] = taste[target]
    return Pairs(rows, target, features)


def pruned(pairs: Pairs, scorer: PairScorer) -> tuple[Rows, Floats]:
    """The targets, best first, and their scores: the log of the sum over triggers of exp(logit)."""
    if len(pairs.rows) == 0:
        return pairs.rows, np.zeros(0, np.float32)
    logits = scorer(pairs.features)
    top = float(logits.max())
    mass = np.bincount(pairs.target, weights=np.exp(logits - top), minlength=len(pairs.rows))
    scores = (np.log(np.maximum(mass, 1e-30)) + top).astype(np.float32)
    order = descending(scores, pairs.rows)
    return pairs.rows[order], scores[order]


_LOG = np.log1p(np.arange(4096, dtype=np.float32))
