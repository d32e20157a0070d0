"""Sessions, impressions, clicks, auctions of a simulated world; `models.data.simulator` states the laws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from models.data.columns import ABSENT
from models.data.simulated_items import DAY_MS, START_MS, Catalogue
from models.data.simulated_users import Population
from models.data.truth import click_logit, sigmoid

STAY = 0.7
SLOTS = 10
MOST_REQUESTS = 3
OWN_TOPIC, POPULAR, UNIFORM = 0.6, 0.3, 0.1
SPONSORED_SHARE = 0.5
BID_NOISE = 0.25
MARKET_MEDIAN_MICROS = 200_000
MARKET_SIGMA = 0.8

_BLOCK = 50_000

Longs = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Requests:
    """R requests in order of time: whose, when, and which of the user's interests was active."""

    user: Longs
    time_ms: Longs
    interest: Longs

    def __len__(self) -> int:
        return len(self.user)

    def blocks(self) -> Iterator[tuple[int, Requests]]:
        """Consecutive blocks, each with the number of its first request."""
        for start in range(0, len(self), _BLOCK):
            part = slice(start, start + _BLOCK)
            yield start, Requests(self.user[part], self.time_ms[part], self.interest[part])


@dataclass(frozen=True, slots=True)
class Shown:
    """I filled positions of a block of requests, request after request."""

    request: Longs
    """[I] index into the block."""
    position: Longs
    item: Longs
    propensity: NDArray[np.float32]
    ctr: NDArray[np.float32]
    clicked: NDArray[np.bool_]
    bought: NDArray[np.bool_]
    bid_micros: Longs
    market_price_micros: Longs


def draw_requests(population: Population, days: int, rng: np.random.Generator) -> Requests:
    """Sessions over the span, each of 1 to `MOST_REQUESTS` requests a minute or so apart."""
    user = np.repeat(np.arange(len(population.sessions)), population.sessions)
    start = START_MS + rng.random(len(user)) * days * DAY_MS
    start = start[np.lexsort((start, user))]
    interest = _active_interest(population, user, rng)
    requests = rng.integers(1, MOST_REQUESTS + 1, len(user))
    number = np.arange(requests.sum()) - np.repeat(np.cumsum(requests) - requests, requests)
    time_ms = np.repeat(start, requests) + 60_000 * number + rng.integers(0, 20_000, len(number))
    order = np.argsort(time_ms, kind="stable")
    return Requests(
        user=np.repeat(user, requests)[order],
        time_ms=time_ms.astype(np.int64)[order],
        interest=np.repeat(interest, requests)[order],
    )


class Display:
    """The logging policy: what is shown at each position, and with which propensity."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._by_topic = np.argsort(catalogue.topic, kind="stable")
        self._weight = np.exp(catalogue.popularity.astype(np.float64))
        self._cumulative = np.concatenate([[0.0], np.cumsum(self._weight[self._by_topic])])
        ends = np.searchsorted(catalogue.topic[self._by_topic], np.arange(len(catalogue.topics) + 1))
        self._topic_bounds = self._cumulative[ends]

    def draw(self, topic: Longs, rng: np.random.Generator) -> tuple[Longs, NDArray[np.float32]]:
        """An item for each position, and the probability of that item, given the active `topic` [I]."""
        how = rng.choice(3, len(topic), p=[OWN_TOPIC, POPULAR, UNIFORM])
        low = np.where(how == 0, self._topic_bounds[topic], 0.0)
        high = np.where(how == 0, self._topic_bounds[topic + 1], self._cumulative[-1])
        place = (
            np.searchsorted(self._cumulative, low + rng.random(len(topic)) * (high - low), side="right") - 1
        )
        items = len(self._by_topic)
        by_popularity = self._by_topic[np.minimum(place, items - 1)]
        item = np.where(how == 2, rng.integers(0, items, len(topic)), by_popularity)
        return item, self._propensity(item, topic)

    def _propensity(self, item: Longs, topic: Longs) -> NDArray[np.float32]:
        weight = self._weight[item]
        of_topic = self._topic_bounds[topic + 1] - self._topic_bounds[topic]
        own = np.where(self._catalogue.topic[item] == topic, weight / of_topic, 0.0)
        popular = weight / self._cumulative[-1]
        chance: NDArray[np.float32] = (
            OWN_TOPIC * own + POPULAR * popular + UNIFORM / len(self._by_topic)
        ).astype(np.float32)
        return chance


def show(
    requests: Requests,
    display: Display,
    catalogue: Catalogue,
    population: Population,
    rng: np.random.Generator,
) -> Shown:
    """Fill the positions of a block of requests and draw what the users do."""
    request = np.repeat(np.arange(len(requests)), SLOTS)
    position = np.tile(np.arange(SLOTS), len(requests))
    active = population.topic[requests.user, requests.interest]
    item, propensity = display.draw(active[request], rng)
    exists = catalogue.created_ms[item] <= requests.time_ms[request]
    request, position = request[exists], position[exists]
    item, propensity = item[exists], propensity[exists]

    interest = population.vectors[requests.user, requests.interest][request]
    affinity = np.einsum("id,id->i", interest, catalogue.vectors[item])
    ctr = sigmoid(click_logit(affinity, catalogue.popularity[item], position))
    clicked = rng.random(len(item)) < ctr
    bought = clicked & (rng.random(len(item)) < sigmoid(-2.5 + 2 * (affinity - 0.5)))
    bid, market_price = _auction(catalogue.bid_micros[item], rng)
    return Shown(request, position, item, propensity, ctr, clicked, bought, bid, market_price)


def _active_interest(population: Population, user: Longs, rng: np.random.Generator) -> Longs:
    """The active interest of each session; sessions come user after user, in order of time."""
    if not len(user):
        return user
    cumulative = np.cumsum(population.weights[user], axis=1)
    drawn = (rng.random((len(user), 1)) * cumulative[:, -1:] >= cumulative).sum(axis=1)
    fresh = np.concatenate([[True], user[1:] != user[:-1]]) | (rng.random(len(user)) >= STAY)
    since = np.maximum.accumulate(np.where(fresh, np.arange(len(user)), 0))
    active: Longs = np.minimum(drawn, (population.weights[user] > 0).sum(axis=1) - 1)[since]
    return active


def _auction(item_bid: Longs, rng: np.random.Generator) -> tuple[Longs, Longs]:
    """Bid and market price of each impression, `ABSENT` where it is not sponsored."""
    sponsored = (item_bid != ABSENT) & (rng.random(len(item_bid)) < SPONSORED_SHARE)
    bid = np.maximum(item_bid, 1) * np.exp(BID_NOISE * rng.normal(size=len(item_bid)))
    won_below = ndtr(np.log(bid / MARKET_MEDIAN_MICROS) / MARKET_SIGMA)
    quantile = ndtri(np.maximum(rng.random(len(item_bid)) * won_below, 1e-12))
    price = np.minimum(MARKET_MEDIAN_MICROS * np.exp(MARKET_SIGMA * quantile), bid)
    return _where(sponsored, bid), _where(sponsored, price)


def _where(mask: NDArray[np.bool_], values: NDArray[Any]) -> Longs:
    return np.where(mask, values, ABSENT).astype(np.int64)
