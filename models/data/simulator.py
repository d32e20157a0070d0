"""A seeded world with planted interests and a known true click-through rate.

Laws, with sigma(x) = 1 / (1 + exp(-x)); all vectors are unit vectors in 16 dimensions:

topics   Up to 32 directions; topic t takes a share of items and interests that falls like (t + 1)^-0.6.
items    vector = topic + 0.35 noise, normalised; 3 in 10 sit halfway to a second topic. Log popularity is
         normal(0, 1). A fifth is created during the simulated days, the rest up to a year before. Attributes:
         title (words of the topic), genres (its topics), brand (of the topic, 8 in 10), price (log-normal).
         1 in 10 is an ad, with a log-normal bid; 1 in 100 is not available any more.
users    1 to 4 interests on distinct topics, vector = topic + 0.25 noise, normalised; Dirichlet(2) weights.
         Segment and region follow the topic of the heaviest interest for 7 in 10 users, age the segment. The
         number of sessions is Poisson with a log-normal mean.
drift    One interest is active in a session. From one session to the next it stays with probability 0.7, else
         it is drawn anew by the weights, which therefore are its long-run shares.
shown    A session has 1 to 3 requests of 10 positions. Each position draws an item on its own: with
         probability 0.6 from the active interest's topic by popularity, 0.3 from the catalogue by popularity,
         0.1 uniformly; the propensity is that mixture's. An item that does not exist yet leaves a gap.
clicks   CTR(u, v | interest c, position p) = sigma(-3.6 + 4 c.v + 0.4 popularity(v) - 0.35 ln(1 + p)).
buys     A click leads to a buy with probability sigma(-2.5 + 2 (c.v - 0.5)).
auction  Half of the impressions of ads are sponsored: bid = the ad's bid * log-normal(0, 0.25); the market
         price is the highest competing bid, log-normal, given that it is not above ours: the log holds won
         auctions, paid at the second price. Both are micros per click.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models.data.columns import Dataset, Impressions, time_order
from models.data.simulated_items import ITEM_FIELDS, Catalogue, draw_catalogue
from models.data.simulated_traffic import Display, Requests, draw_requests, show
from models.data.simulated_users import USER_FIELDS, Population, draw_population
from models.data.truth import Truth

EVENT_KINDS = ("click", "buy")


def simulate(
    users: int, items: int, seed: int, days: int = 60, sessions: float = 4.0, progress: bool = False
) -> tuple[Dataset, Truth]:
    """Draw a world of `users` and `items` over `days`, with `sessions` per user on average.

    Equal arguments give an equal data set. `progress` shows a bar if stderr is a terminal.

    Raises:
        ValueError: fewer than 1 user, 20 items or 1 day, or nobody clicked.
    """
    if users < 1 or items < 20 or days < 1:
        raise ValueError(f"a world needs 1 user, 20 items and 1 day at least; got {users}, {items}, {days}")
    streams = [np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(3)]
    catalogue = draw_catalogue(items, days, streams[0])
    population = draw_population(users, sessions, catalogue, streams[1])
    requests = draw_requests(population, days, streams[2])
    log = _log(requests, catalogue, population, streams[2], progress) if len(requests) else {}
    if not log or not log["clicked"].any():
        raise ValueError("nobody clicked; simulate more users or sessions")
    truth = Truth(
        item_vectors=catalogue.vectors,
        item_popularity=catalogue.popularity,
        item_topic=catalogue.topic,
        interests=population.vectors,
        interest_topic=population.topic,
        interest_weights=population.weights,
        impression_interest=requests.interest[log["request"]].astype(np.int8),
        impression_ctr=log["ctr"],
    )
    return _dataset(seed, catalogue, population, requests, log), truth


def _log(
    requests: Requests, catalogue: Catalogue, population: Population, rng: np.random.Generator, progress: bool
) -> dict[str, NDArray[Any]]:
    """All that was shown, in columns, `request` counted over the whole world."""
    display = Display(catalogue)
    parts: list[dict[str, NDArray[Any]]] = []
    with tqdm(total=len(requests), desc="requests", disable=None if progress else True) as bar:
        for start, block in requests.blocks():
            shown = show(block, display, catalogue, population, rng)
            parts.append({name: getattr(shown, name) for name in shown.__slots__})
            parts[-1]["request"] = parts[-1]["request"] + start
            bar.update(len(block))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _dataset(
    seed: int, catalogue: Catalogue, population: Population, requests: Requests, log: dict[str, NDArray[Any]]
) -> Dataset:
    time_ms = requests.time_ms[log["request"]]
    user = requests.user[log["request"]].astype(np.int32)
    click, buy = np.flatnonzero(log["clicked"]), np.flatnonzero(log["bought"])
    of = np.concatenate([click, buy])
    # A click comes a few seconds down the list, a buy two minutes after its click.
    event_time = time_ms[of] + 2000 * (log["position"][of] + 1)
    event_time[len(click) :] += 120_000
    order = time_order(event_time)
    kind = np.repeat(np.array([0, 1], np.int16), [len(click), len(buy)])
    price = np.array([record["price"] for record in catalogue.records], np.float32)
    value = np.where(kind == 1, price[log["item"][of]], np.nan).astype(np.float32)
    return Dataset(
        name=f"simulated-{len(population.records)}-{len(catalogue.records)}-{seed}",
        item_fields=ITEM_FIELDS,
        user_fields=USER_FIELDS,
        item_ids=[f"item-{row}" for row in range(len(catalogue.records))],
        item_records=catalogue.records,
        item_created_ms=catalogue.created_ms,
        item_available=catalogue.available,
        item_bid_micros=catalogue.bid_micros,
        user_ids=[f"user-{row}" for row in range(len(population.records))],
        user_records=population.records,
        event_kinds=EVENT_KINDS,
        event_user=user[of][order],
        event_item=log["item"][of][order].astype(np.int32),
        event_kind=kind[order],
        event_time_ms=event_time[order],
        event_value=value[order],
        impressions=_impressions(requests, log, user, time_ms),
    )


def _impressions(
    requests: Requests, log: dict[str, NDArray[Any]], user: NDArray[np.int32], time_ms: NDArray[np.int64]
) -> Impressions:
    return Impressions(
        request_ids=[f"request-{number}" for number in range(len(requests))],
        request=log["request"].astype(np.int32),
        user=user,
        item=log["item"].astype(np.int32),
        position=log["position"].astype(np.int32),
        time_ms=time_ms,
        clicked=log["clicked"],
        propensity=log["propensity"],
        bid_micros=log["bid_micros"],
        market_price_micros=log["market_price_micros"],
    )
