"""The auctions of a simulated world, block by block; `models.data.auctions` states the laws."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models.data.simulated_ads import PLACEMENTS, POSITION, AuctionWorld, click_chance, mean_chance
from models.data.simulated_items import DAY_MS, START_MS

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Longs = NDArray[np.int64]
Mask = NDArray[np.bool_]

DRAWS = 8
"""Ads drawn per auction; an advertiser that is drawn twice takes part once."""
OUTSIDERS = 2
OUTSIDE_MEDIAN_MICROS = 18_000
"""Per impression at price level 1 and position 0."""
OUTSIDE_SIGMA = 0.8
BID_SIGMA = 0.3

_BLOCK = 8192


@dataclass(frozen=True, slots=True)
class Auctions:
    """A auctions in order of time, all [A]."""

    user: Longs
    time_ms: Longs
    placement: Longs
    position: Longs

    def __len__(self) -> int:
        return len(self.user)

    def at(self, part: slice) -> Auctions:
        """Some of them."""
        return Auctions(*(getattr(self, each.name)[part] for each in fields(self)))


@dataclass(frozen=True, slots=True)
class Entrants:
    """What takes part in A auctions: ads [A, K], and the best outsider [A]. Scores are logs of micros per
    impression at position 0; the `noisy` ones, with the policy's noise, decide."""

    ad: Longs
    takes_part: Mask
    bid_micros: Longs
    hidden: Floats
    ctr: Floats
    """At the auction's position."""
    score: Doubles
    noisy: Doubles
    chance: Floats
    """Uniform draws: an ad would be clicked where this is below its `ctr`."""
    outside_weight: Doubles
    """[A] sum of exp(score / noise) over the outsiders."""
    outside_noisy: Doubles
    """[A]."""
    outside: Doubles
    """[A, O] the outsiders' scores, without noise, the best first."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How A auctions ended: `column` of the winner in the entrants, -1 where outsiders won."""

    column: Longs
    price_micros: Longs
    clicked: Mask
    propensity: Floats
    able: Mask
    """[A, K] ads that took part and whose advertisers had money left."""


def draw_auctions(world: AuctionWorld, count: int, days: int, rng: np.random.Generator) -> Auctions:
    """Who looks at which placement when, in order of time; users differ in how often they come."""
    activity = np.exp(rng.normal(0, 0.8, world.users))
    placement = rng.choice(len(PLACEMENTS), count, p=[each.share for each in PLACEMENTS])
    positions = np.array([each.positions for each in PLACEMENTS])
    return Auctions(
        rng.choice(world.users, count, p=activity / activity.sum()),
        np.sort(START_MS + (rng.random(count) * days * DAY_MS).astype(np.int64)),
        placement,
        (rng.random(count) * positions[placement]).astype(np.int64),
    )


def draw_entrants(
    world: AuctionWorld, asked: Auctions, hidden: float, noise: float, rng: np.random.Generator
) -> Entrants:
    """Ads, bids, hidden qualities and outsiders of a block of auctions."""
    shape = (len(asked), DRAWS)
    ad = rng.integers(0, len(world.advertiser), shape)
    whose = world.advertiser[ad]
    placement = asked.placement[:, None]
    modifier = np.array([each.bid_modifier for each in PLACEMENTS])[placement]
    bid = world.standing_bid_micros[ad] * modifier * np.exp(BID_SIGMA * rng.normal(size=shape))
    bid = np.minimum(bid.astype(np.int64), world.advertisers.cap_micros[whose])
    floor = np.array([each.floor_micros for each in PLACEMENTS])[placement]
    quality = (hidden * rng.normal(size=shape)).astype(np.float32)
    logit = world.logit[asked.user[:, None], ad]
    score = np.log(np.maximum(bid, 1)) + np.log(click_chance(logit, placement, 0, quality))
    level = np.array([each.price_level for each in PLACEMENTS])[asked.placement]
    outside = np.log(OUTSIDE_MEDIAN_MICROS * level)[:, None] + OUTSIDE_SIGMA * rng.normal(
        size=(len(asked), OUTSIDERS)
    )
    return Entrants(
        ad,
        ~_repeated(whose) & (bid >= floor),
        bid,
        quality,
        click_chance(logit, placement, asked.position[:, None], quality),
        score,
        score + noise * rng.gumbel(size=shape),
        rng.random(shape, np.float32),
        np.exp(outside / noise).sum(axis=1),
        (outside + noise * rng.gumbel(size=outside.shape)).max(axis=1),
        -np.sort(-outside, axis=1),
    )


def decide(asked: Auctions, entrants: Entrants, able: Mask, noise: float) -> Outcome:
    """Who wins, what a click costs, and whether there is one, where only `able` ads [A, K] take part."""
    each = np.arange(len(asked))
    noisy = np.where(able, entrants.noisy, -np.inf)
    column = noisy.argmax(axis=1)
    first = noisy[each, column]
    won = first > entrants.outside_noisy
    noisy[each, column] = -np.inf
    second = np.maximum(noisy.max(axis=1), entrants.outside_noisy)
    bid = entrants.bid_micros[each, column]
    floor = np.array([place.floor_micros for place in PLACEMENTS])[asked.placement]
    needed = bid * np.exp(np.where(won, second - first, 0.0))
    price = np.where(won, np.clip(np.ceil(needed).astype(np.int64), floor, np.maximum(bid, floor)), 0)
    ours = np.where(able, np.exp(entrants.score / noise), 0.0)
    propensity = ours[each, column] / (ours.sum(axis=1) + entrants.outside_weight)
    clicked = won & (entrants.chance[each, column] < entrants.ctr[each, column])
    return Outcome(np.where(won, column, -1), price, clicked, propensity.astype(np.float32), able)


def run_auctions(
    world: AuctionWorld,
    asked: Auctions,
    held_out_from: int,
    hidden: float,
    noise: float,
    rng: np.random.Generator,
    progress: bool,
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """The won impressions in columns, and every candidate of the auctions `held_out_from` on.

    The column `auction` numbers the auctions. Budgets are per day, so a block never spans two.
    """
    log: list[dict[str, NDArray[Any]]] = []
    candidates: list[dict[str, NDArray[Any]]] = []
    left = np.zeros(0, np.int64)
    today = -1
    with tqdm(total=len(asked), desc="auctions", disable=None if progress else True) as bar:
        for part in _blocks(asked, held_out_from):
            block = asked.at(part)
            if (day := int((block.time_ms[0] - START_MS) // DAY_MS)) != today:
                today, left = day, world.advertisers.daily_budget_micros.copy()
            entrants = draw_entrants(world, block, hidden, noise, rng)
            outcome = _within_budgets(world, block, entrants, left, noise)
            log.append(_won(block, entrants, outcome, part.start))
            if part.start >= held_out_from:
                candidates.append(_every(world, block, entrants, outcome, hidden, part.start))
            bar.update(len(block))
    return _joined(log), _joined(candidates)


def _within_budgets(
    world: AuctionWorld, asked: Auctions, entrants: Entrants, left: Longs, noise: float
) -> Outcome:
    """Decide a block in which an advertiser is out as soon as it could not pay its highest bid once more;
    `left` [J] is what each has left of the day, and is brought up to date.

    Up to the first auction after which somebody is out, an outcome without regard to budgets holds: take that
    one out from there on, and decide anew.
    """
    whose, number = world.advertiser[entrants.ad], np.arange(len(asked))
    cap = world.advertisers.cap_micros
    out_from = np.where(left < cap, 0, len(asked))
    while True:
        able = entrants.takes_part & (number[:, None] < out_from[whose])
        outcome = decide(asked, entrants, able, noise)
        paid = np.flatnonzero(outcome.clicked)
        payer = whose[paid, outcome.column[paid]]
        after = left[payer] - _running_sum(payer, outcome.price_micros[paid])
        broke = np.flatnonzero((after < cap[payer]) & (out_from[payer] == len(asked)))
        if not len(broke) or paid[broke[0]] + 1 == len(asked):
            np.subtract.at(left, payer, outcome.price_micros[paid])
            return outcome
        out_from[payer[broke[0]]] = paid[broke[0]] + 1


def _running_sum(group: Longs, values: Longs) -> Longs:
    """Sum over earlier rows of the same group and the row itself."""
    order = np.argsort(group, kind="stable")
    total = np.cumsum(values[order])
    first = np.flatnonzero(np.diff(group[order], prepend=-1))
    before = np.repeat(total[first] - values[order][first], np.diff(np.append(first, len(group))))
    summed = np.empty(len(group), np.int64)
    summed[order] = total - before
    return summed


def _won(asked: Auctions, entrants: Entrants, outcome: Outcome, start: int) -> dict[str, NDArray[Any]]:
    won = np.flatnonzero(outcome.column >= 0)
    at = (won, outcome.column[won])
    return {
        "auction": won + start,
        "item": entrants.ad[at].astype(np.int32),
        "clicked": outcome.clicked[won],
        "propensity": outcome.propensity[won],
        "bid_micros": entrants.bid_micros[at],
        "market_price_micros": outcome.price_micros[won],
        "ctr": entrants.ctr[at],
        "hidden": entrants.hidden[at],
    }


def _every(
    world: AuctionWorld, asked: Auctions, entrants: Entrants, outcome: Outcome, hidden: float, start: int
) -> dict[str, NDArray[Any]]:
    # Where clicks are rarer, outsiders offer less by as much.
    depth = (1.0 + asked.position[:, None]) ** -POSITION
    outside = np.round(np.exp(entrants.outside) * depth).astype(np.int64)
    auction, column = np.nonzero(outcome.able)
    ad = entrants.ad[auction, column]
    logit = world.logit[asked.user[auction], ad]
    return {
        "auction": auction + start,
        "item": ad.astype(np.int32),
        "bid_micros": entrants.bid_micros[auction, column],
        "ctr": entrants.ctr[auction, column],
        "mean_ctr": mean_chance(logit, asked.placement[auction], asked.position[auction], hidden),
        "hidden": entrants.hidden[auction, column],
        "clicked": entrants.chance[auction, column] < entrants.ctr[auction, column],
        "won": outcome.column[auction] == column,
        "outside_micros": outside[auction, 0],
        "outside_second_micros": outside[auction, 1],
    }


def _blocks(asked: Auctions, cut: int) -> list[slice]:
    """Consecutive blocks that end at midnight and at the auction `cut`."""
    day = (asked.time_ms - START_MS) // DAY_MS
    bounds = np.unique(
        np.concatenate(
            [
                np.arange(0, len(asked), _BLOCK),
                np.flatnonzero(np.diff(day, prepend=day[0])),
                [cut, len(asked)],
            ]
        )
    )
    return [slice(low, high) for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]


def _repeated(values: Longs) -> Mask:
    """Which of a row's values [A, K] stand further left already."""
    order = np.argsort(values, axis=1, kind="stable")
    ranked = np.take_along_axis(values, order, axis=1)
    again = np.zeros(values.shape, bool)
    np.put_along_axis(again, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], axis=1)
    return again


def _joined(parts: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
