"""What a simulated world knows of itself and a data set does not show."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifacts import write_json

BASE = -3.6
AFFINITY = 4.0
POPULARITY = 0.4
POSITION = 0.35

TRUTH_ARRAYS = "truth.npz"
TRUTH_JSON = "truth.json"

Floats = NDArray[np.float32]


def sigmoid(logit: NDArray[Any]) -> Floats:
    """1 / (1 + exp(-logit)) as float32."""
    probability: Floats = (1 / (1 + np.exp(-logit))).astype(np.float32)
    return probability


def click_logit(
    affinity: NDArray[Any], popularity: NDArray[Any], position: NDArray[Any] | int
) -> NDArray[Any]:
    """The law of clicks, from the active interest's cosine with the item and the item's log popularity."""
    logit: NDArray[Any] = BASE + AFFINITY * affinity + POPULARITY * popularity - POSITION * np.log1p(position)
    return logit


@dataclass(frozen=True, slots=True)
class Truth:
    """The planted world: items [m], users [n] with K interests, impressions [I] in the data set's order."""

    item_vectors: Floats
    """[m, d] unit vectors."""
    item_popularity: Floats
    """[m] in logs."""
    item_topic: NDArray[np.int64]
    interests: Floats
    """[n, K, d] unit vectors, zero at pads."""
    interest_topic: NDArray[np.int64]
    """[n, K], -1 at pads."""
    interest_weights: Floats
    """[n, K] the long-run share of sessions in which the interest is active; 0 at pads."""
    impression_interest: NDArray[np.int8]
    """[I] which of the user's interests was active."""
    impression_ctr: Floats
    """[I] the probability with which the logged click was drawn."""

    def true_ctr(
        self, user_rows: NDArray[np.integer[Any]], item_rows: NDArray[np.integer[Any]], position: int = 0
    ) -> Floats:
        """Click probability of each pair (`user_rows` [N], `item_rows` [N]), interests by their weights."""
        affinity = np.einsum("nkd,nd->nk", self.interests[user_rows], self.item_vectors[item_rows])
        chance = sigmoid(click_logit(affinity, self.item_popularity[item_rows][:, None], position))
        mean: Floats = (chance * self.interest_weights[user_rows]).sum(axis=1)
        return mean

    def save(self, folder: Path, seed: int) -> None:
        """Write the arrays and a page of constants beside a data set's tables."""
        np.savez_compressed(folder / TRUTH_ARRAYS, **{f.name: getattr(self, f.name) for f in fields(self)})
        law = {"base": BASE, "affinity": AFFINITY, "popularity": POPULARITY, "position": POSITION}
        sizes = {"items": len(self.item_vectors), "users": len(self.interests)}
        shown = {"impressions": len(self.impression_ctr), "mean_ctr": float(np.mean(self.impression_ctr))}
        write_json(folder / TRUTH_JSON, {"seed": seed, "click_logit": law, **sizes, **shown})

    @classmethod
    def load(cls, folder: Path) -> Truth:
        """Read what `save` wrote."""
        with np.load(folder / TRUTH_ARRAYS) as arrays:
            return cls(**{f.name: arrays[f.name] for f in fields(cls)})
