"""The items of a simulated world; `models.data.simulator` states the laws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.columns import ABSENT
from models.schema import FieldKind

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]

DIMENSIONS = 16
TOPICS = 32
TOPIC_DECAY = 0.6
SPREAD = 0.35
SECOND_TOPIC_SHARE = 0.3
NEW_SHARE = 0.2
AD_SHARE = 0.1
UNAVAILABLE_SHARE = 0.01
BID_MEDIAN_MICROS = 400_000
BID_SIGMA = 0.6

DAY_MS = 86_400_000
START_MS = 1_704_067_200_000
"""2024-01-01, when the simulated span begins."""

ITEM_FIELDS = {
    "title": FieldKind.TEXT,
    "genres": FieldKind.SET,
    "brand": FieldKind.CATEGORY,
    "price": FieldKind.NUMBER,
}

_WORDS_PER_TOPIC = 24
_BRANDS_PER_TOPIC = 12
_SYLLABLES = [
    c + v for c in ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z") for v in "aeiou"
]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """m items: unit `vectors` [m, d], `topic` [m], `popularity` [m] in logs, and what is shown of them."""

    topics: Floats
    topic_share: NDArray[np.float64]
    vectors: Floats
    topic: Longs
    popularity: Floats
    created_ms: Longs
    available: NDArray[np.bool_]
    bid_micros: Longs
    records: list[dict[str, Any]]


def unit(vectors: NDArray[Any]) -> Floats:
    """Vectors along the last axis, scaled to length 1."""
    scaled: Floats = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    return scaled


def draw_catalogue(items: int, days: int, rng: np.random.Generator) -> Catalogue:
    """Draw the topics and the items."""
    count = min(TOPICS, max(2, items // 20))
    share: NDArray[np.float64] = np.power(np.arange(count) + 1.0, -TOPIC_DECAY)
    share /= share.sum()
    topics = unit(rng.normal(size=(count, DIMENSIONS)))

    topic = rng.choice(count, items, p=share)
    # Every topic has an item, so that every interest has something to show.
    topic[: min(count, items)] = np.arange(min(count, items))
    second = np.where(rng.random(items) < SECOND_TOPIC_SHARE, rng.choice(count, items, p=share), topic)
    centre = unit(topics[topic] + topics[second])
    noise = rng.normal(size=(items, DIMENSIONS)) / np.sqrt(DIMENSIONS)

    is_new = rng.random(items) < NEW_SHARE
    age_days = np.where(is_new, -days * rng.random(items), 365 * rng.random(items))
    bids = BID_MEDIAN_MICROS * np.exp(BID_SIGMA * rng.normal(size=items))
    return Catalogue(
        topics=topics,
        topic_share=share,
        vectors=unit(centre + SPREAD * noise),
        topic=topic,
        popularity=rng.normal(size=items).astype(np.float32),
        created_ms=(START_MS - age_days * DAY_MS).astype(np.int64),
        available=rng.random(items) >= UNAVAILABLE_SHARE,
        bid_micros=np.where(rng.random(items) < AD_SHARE, bids, ABSENT).astype(np.int64),
        records=_records(topic, second, count, rng),
    )


def _records(topic: Longs, second: Longs, topics: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    items = len(topic)
    words = _words(topics * (_WORDS_PER_TOPIC + _BRANDS_PER_TOPIC + 1), rng)
    genres = [word.capitalize() for word in words[:topics]]
    brands = [word.upper() for word in words[topics : topics * (_BRANDS_PER_TOPIC + 1)]]
    vocabulary = words[topics * (_BRANDS_PER_TOPIC + 1) :]
    picked = topic[:, None] * _WORDS_PER_TOPIC + rng.integers(0, _WORDS_PER_TOPIC, (items, 3))
    brand = topic * _BRANDS_PER_TOPIC + rng.integers(0, _BRANDS_PER_TOPIC, items)
    branded = rng.random(items) < 0.8
    price = np.round(np.exp(rng.normal(3, 0.5, items)), 2)
    records: list[dict[str, Any]] = []
    for row, places in enumerate(picked.tolist()):
        record: dict[str, Any] = {
            "title": " ".join(dict.fromkeys(vocabulary[place] for place in places)).capitalize(),
            "genres": list(dict.fromkeys((genres[topic[row]], genres[second[row]]))),
        }
        if branded[row]:
            record["brand"] = brands[brand[row]]
        record["price"] = float(price[row])
        records.append(record)
    return records


def _words(count: int, rng: np.random.Generator) -> list[str]:
    """That many distinct words of two or three syllables."""
    words: dict[str, None] = {}
    while len(words) < count:
        for picked in rng.integers(0, len(_SYLLABLES), (count, 3)).tolist():
            words["".join(_SYLLABLES[i] for i in picked[: 2 + picked[2] % 2])] = None
    return list(words)[:count]
