"""The users, advertisers and ads of a simulated auction world; `models.data.auctions` states the laws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.simulated_items import unit
from models.data.truth import sigmoid
from models.schema import FieldKind

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Longs = NDArray[np.int64]

DIMENSIONS = 8
SEGMENTS = 12
CATEGORIES = 12
REGIONS = 8
USER_SPREAD = 0.4
AD_SPREAD = 0.35
ADS_PER_ADVERTISER = 5

BASE = -4.2
AFFINITY = 1.5
APPEAL = 0.5
POSITION = 0.35

VALUE_MEDIAN_MICROS = 500_000
VALUE_SIGMA = 0.7
AD_VALUE_SIGMA = 0.3
SHADED_SHARE = 0.5
SHADES = (0.5, 0.9)
CAP = 3.0
"""An advertiser never bids more than so many times its highest standing bid."""
BUDGET_SIGMA = 0.7

ITEM_FIELDS = {
    "title": FieldKind.TEXT,
    "category": FieldKind.CATEGORY,
    "advertiser": FieldKind.CATEGORY,
    "format": FieldKind.CATEGORY,
}
USER_FIELDS = {"segment": FieldKind.CATEGORY, "region": FieldKind.CATEGORY}

_FORMATS = ("image", "text", "video")
_GAUSS = np.polynomial.hermite_e.hermegauss(15)


@dataclass(frozen=True, slots=True)
class Placement:
    """A place where ads are shown: how often it is asked for, what it costs there, and what is clicked."""

    name: str
    share: float
    price_level: float
    """Of the outside competitors, beside 1 on average."""
    bid_modifier: float
    """Advertisers bid so many times their standing bid here."""
    click_effect: float
    """Added to the click logit."""
    floor_micros: int
    """The least bid, and the least price, per click."""
    positions: int
    """An ad stands at one of so many positions, with equal chance."""


PLACEMENTS = (
    Placement("feed", 0.40, 1.0, 1.0, 0.0, 50_000, 6),
    Placement("search", 0.25, 2.0, 1.4, 0.4, 100_000, 3),
    Placement("video", 0.15, 1.4, 1.2, -0.2, 80_000, 1),
    Placement("banner", 0.20, 0.4, 0.7, -0.6, 20_000, 2),
)


@dataclass(frozen=True, slots=True)
class Advertisers:
    """J advertisers, all [J]: `shade` is 1 of the truthful ones; `cap_micros` is the highest bid ever."""

    value_micros: Doubles
    shade: Doubles
    cap_micros: Longs
    daily_budget_micros: Longs

    def __len__(self) -> int:
        return len(self.shade)


@dataclass(frozen=True, slots=True)
class AuctionWorld:
    """n users and m ads of J advertisers; `logit` [n, m] is the click logit but for place and hidden part."""

    advertisers: Advertisers
    advertiser: Longs
    """[m] whose the ad is."""
    standing_bid_micros: Longs
    """[m]."""
    appeal: Floats
    logit: Floats
    item_records: list[dict[str, Any]]
    user_records: list[dict[str, Any]]

    @property
    def users(self) -> int:
        """n."""
        return len(self.user_records)


def draw_world(users: int, advertisers: int, clicks_a_day: float, rng: np.random.Generator) -> AuctionWorld:
    """Draw it; a daily budget pays about `clicks_a_day` clicks at the median of its law."""
    segments = unit(rng.normal(size=(SEGMENTS, DIMENSIONS)))
    ads = advertisers * ADS_PER_ADVERTISER
    category = rng.integers(0, CATEGORIES, ads)
    themes = unit(rng.normal(size=(CATEGORIES, DIMENSIONS)))
    vectors = unit(themes[category] + AD_SPREAD * _noise(ads, rng))
    segment = rng.integers(0, SEGMENTS, users)
    people = unit(segments[segment] + USER_SPREAD * _noise(users, rng))
    appeal = (APPEAL * rng.normal(size=ads)).astype(np.float32)

    owner = np.repeat(np.arange(advertisers), ADS_PER_ADVERTISER)
    value = VALUE_MEDIAN_MICROS * np.exp(VALUE_SIGMA * rng.normal(size=advertisers))
    shaded = rng.random(advertisers) < SHADED_SHARE
    shade = np.where(shaded, rng.uniform(*SHADES, advertisers), 1.0)
    standing = value[owner] * np.exp(AD_VALUE_SIGMA * rng.normal(size=ads)) * shade[owner]
    highest = np.full(advertisers, 0.0)
    np.maximum.at(highest, owner, standing)
    cap = (CAP * highest).astype(np.int64)
    budget = value * clicks_a_day * np.exp(BUDGET_SIGMA * rng.normal(size=advertisers))
    return AuctionWorld(
        Advertisers(value, shade, cap, np.maximum(budget.astype(np.int64), 3 * cap)),
        owner,
        standing.astype(np.int64),
        appeal,
        (BASE + AFFINITY * (people @ vectors.T) + appeal).astype(np.float32),
        _ad_records(category, owner, rng),
        _user_records(segment, rng),
    )


def click_chance(
    logit: NDArray[Any], placement: NDArray[Any], position: NDArray[Any] | int, hidden: NDArray[Any] | float
) -> Floats:
    """The law of clicks: sigma(logit + placement's effect - POSITION ln(1 + position) + hidden quality)."""
    effect = np.array([each.click_effect for each in PLACEMENTS], np.float32)
    return sigmoid(logit + effect[placement] - POSITION * np.log1p(position) + hidden)


def mean_chance(logit: NDArray[Any], placement: NDArray[Any], position: NDArray[Any], sigma: float) -> Floats:
    """The click chance averaged over the hidden quality: what can be known without seeing it."""
    nodes, weights = _GAUSS
    total = np.zeros(np.broadcast_shapes(logit.shape, placement.shape), np.float64)
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        total += weight * click_chance(logit, placement, position, sigma * node)
    mean: Floats = total.astype(np.float32)
    return mean


def _noise(count: int, rng: np.random.Generator) -> Doubles:
    noise: Doubles = rng.normal(size=(count, DIMENSIONS)) / np.sqrt(DIMENSIONS)
    return noise


def _ad_records(category: Longs, owner: Longs, rng: np.random.Generator) -> list[dict[str, Any]]:
    kind = rng.integers(0, len(_FORMATS), len(category)).tolist()
    return [
        {
            "title": f"offer {row} of theme {theme}",
            "category": f"category-{theme}",
            "advertiser": f"advertiser-{whose}",
            "format": _FORMATS[shape],
        }
        for row, (theme, whose, shape) in enumerate(zip(category.tolist(), owner.tolist(), kind, strict=True))
    ]


def _user_records(segment: Longs, rng: np.random.Generator) -> list[dict[str, Any]]:
    region = rng.integers(0, REGIONS, len(segment)).tolist()
    return [
        {"segment": f"segment-{s}", "region": f"region-{r}"}
        for s, r in zip(segment.tolist(), region, strict=True)
    ]
