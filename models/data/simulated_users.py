"""The users of a simulated world; `models.data.simulator` states the laws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.columns import ABSENT
from models.data.simulated_items import DIMENSIONS, Catalogue, unit
from models.schema import FieldKind

INTERESTS = 4
"""Most interests of one user."""
INTEREST_SPREAD = 0.25
SEGMENTS = 6
REGIONS = 8
TYPICAL_SHARE = 0.7

USER_FIELDS = {"segment": FieldKind.CATEGORY, "region": FieldKind.CATEGORY, "age": FieldKind.NUMBER}


@dataclass(frozen=True, slots=True)
class Population:
    """n users of up to K interests: `vectors` [n, K, d], `topic` [n, K] (`ABSENT` pads), `weights` [n, K].

    `weights` sum to 1 over a user's interests and are 0 at the pads; `sessions` [n] counts visits.
    """

    vectors: NDArray[np.float32]
    topic: NDArray[np.int64]
    weights: NDArray[np.float32]
    sessions: NDArray[np.int64]
    records: list[dict[str, Any]]


def draw_population(
    users: int, sessions: float, catalogue: Catalogue, rng: np.random.Generator
) -> Population:
    """Draw the users; `sessions` is the mean number of sessions."""
    most = min(INTERESTS, len(catalogue.topics))
    # The largest Gumbel keys are a draw without replacement by the topics' shares.
    keys = np.log(catalogue.topic_share) + rng.gumbel(size=(users, len(catalogue.topics)))
    topic = np.argsort(-keys, axis=1)[:, :most]
    held = np.arange(most) < rng.integers(1, most + 1, users)[:, None]
    weights = rng.gamma(2.0, size=(users, most)) * held
    weights /= weights.sum(axis=1, keepdims=True)
    noise = rng.normal(size=(users, most, DIMENSIONS)) / np.sqrt(DIMENSIONS)
    vectors = unit(catalogue.topics[topic] + INTEREST_SPREAD * noise) * held[:, :, None]
    main_topic = topic[np.arange(users), weights.argmax(axis=1)]
    activity = sessions * np.exp(rng.normal(-0.32, 0.8, users))
    return Population(
        vectors=vectors.astype(np.float32),
        topic=np.where(held, topic, ABSENT),
        weights=weights.astype(np.float32),
        sessions=rng.poisson(activity),
        records=_records(main_topic, rng),
    )


def _records(main_topic: NDArray[np.int64], rng: np.random.Generator) -> list[dict[str, Any]]:
    users = len(main_topic)
    typical = rng.random((2, users)) < TYPICAL_SHARE
    segment = np.where(typical[0], main_topic % SEGMENTS, rng.integers(0, SEGMENTS, users))
    region = np.where(typical[1], main_topic * 3 % REGIONS, rng.integers(0, REGIONS, users))
    age = np.clip(rng.normal(22 + 8 * segment, 6), 16, 90).astype(np.int64)
    return [
        {"segment": f"segment-{s}", "region": f"region-{r}", "age": a}
        for s, r, a in zip(segment.tolist(), region.tolist(), age.tolist(), strict=True)
    ]
