"""A seeded world of ad auctions with a known click-through rate, logged only where an ad of ours won.

`docs/auction-bias.md` explains it; these are the laws, with sigma(x) = 1 / (1 + exp(-x)), N a standard normal
variable, and vectors in 8 dimensions:

users       12 segments, each a unit direction; a user's vector is the segment's + 0.4 noise, normalised.
            Users come log-normal(0.8) often. Segment and region are attributes, the noise is not.
ads         5 per advertiser, of one of 12 categories; vector = category's direction + 0.35 noise, normalised;
            appeal 0.5 N. Title, category, advertiser and format are attributes.
values      A click is worth log-normal (median 0.5 units, sigma 0.7) to an advertiser, and per ad once more
            log-normal(0.3). It has nothing to do with clicks.
bidders     Half bid their value, half shade it by a factor from U(0.5, 0.9). A bid is the ad's standing bid x
            the placement's modifier x log-normal(0.3), at most 3 x the advertiser's highest standing bid.
budgets     Per advertiser and day, value x log-normal(0.7) x clicks a day. Who could not pay its highest bid
            once more is out until midnight, so that no budget is ever overspent.
placements  See `PLACEMENTS`: each has its share of the traffic, price level, bid modifier, effect on clicks,
            floor and positions. An auction is for one position of one placement.
auction     8 ads are drawn (an advertiser drawn twice takes part once, a bid below the floor does not);
            against them 2 outside competitors, log-normal(0.8) around 0.018 units per impression x the price
            level at position 0, less by the position's effect elsewhere.
hidden      Each ad of each auction has a quality `hidden` x N that the logging policy sees, and no model.
clicks      CTR = sigma(-4.2 + 1.5 u.v + appeal + placement's effect - 0.35 ln(1 + position) + hidden quality)
policy      Ranks by bid x CTR at position 0 x exp(noise x Gumbel), outsiders likewise: its exploration.
            The probability of the winner, given all that the policy sees, is the logged propensity.
price       Second price, per click: the least bid with which the winner would still have won, at least the
            floor. It is paid where there is a click.
log         Only what we won, in time before the held-out auctions. Of these, the last ones, every candidate
            is kept with its true CTR, in `candidates.parquet`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifacts import write_json
from models.data.candidates import Candidates
from models.data.columns import Dataset, Impressions, time_order
from models.data.simulated_ads import (
    AFFINITY,
    BASE,
    ITEM_FIELDS,
    PLACEMENTS,
    POSITION,
    USER_FIELDS,
    AuctionWorld,
    draw_world,
)
from models.data.simulated_auctions import Auctions, draw_auctions, run_auctions
from models.data.simulated_items import START_MS
from models.data.truth import TRUTH_ARRAYS, TRUTH_JSON

HIDDEN = 0.7
NOISE = 0.25
LEAST_NOISE = 0.05
HELD_OUT = 0.1
CLICKS_A_DAY = 0.03
"""Median budget in clicks, per auction of a day and advertiser."""


@dataclass(frozen=True, slots=True)
class AuctionTruth:
    """What the world knows of itself and the log does not show; I impressions in the log's order."""

    hidden: float
    noise: float
    value_micros: NDArray[np.float64]
    """[J] an advertiser's value of a click."""
    shade: NDArray[np.float64]
    """[J] bid / value: 1 of the truthful."""
    daily_budget_micros: NDArray[np.int64]
    """[J]."""
    advertiser: NDArray[np.int64]
    """[m] whose the ad is."""
    appeal: NDArray[np.float32]
    """[m]."""
    impression_ctr: NDArray[np.float32]
    """[I] the probability with which the logged click was drawn."""
    impression_hidden: NDArray[np.float32]
    """[I] hidden quality of the winner."""
    candidates: Candidates

    def save(self, folder: Path, seed: int) -> None:
        """Write arrays, a page of constants and the candidates beside a data set's tables."""
        arrays = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if isinstance(getattr(self, each.name), np.ndarray)
        }
        np.savez_compressed(folder / TRUTH_ARRAYS, **arrays)
        law = {"base": BASE, "affinity": AFFINITY, "position": POSITION}
        placements = {place.name: place.click_effect for place in PLACEMENTS}
        write_json(
            folder / TRUTH_JSON,
            {
                "seed": seed,
                "hidden": self.hidden,
                "noise": self.noise,
                "click_logit": law,
                "placements": placements,
            },
        )
        self.candidates.save(folder)


def simulate_auctions(
    auctions: int,
    seed: int,
    users: int = 5000,
    advertisers: int = 80,
    days: int = 14,
    hidden: float = HIDDEN,
    noise: float = NOISE,
    held_out: float = HELD_OUT,
    progress: bool = False,
) -> tuple[Dataset, AuctionTruth]:
    """Run so many auctions over `days`; the last share `held_out` of them is kept whole, out of the log.

    Equal arguments give an equal data set. `hidden` is the spread of the hidden quality, 0 = there is none;
    `noise` is the policy's exploration. `progress` shows a bar if stderr is a terminal.

    Raises:
        ValueError: an argument is out of range, or nobody clicked.
    """
    _check(auctions, users, advertisers, days, hidden, noise, held_out)
    streams = [np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(3)]
    world = draw_world(users, advertisers, CLICKS_A_DAY * auctions / days / advertisers, streams[0])
    asked = draw_auctions(world, auctions, days, streams[1])
    cut = auctions - round(auctions * held_out)
    log, every = run_auctions(world, asked, cut, hidden, noise, streams[2], progress)
    logged = log["auction"] < cut
    log = {name: values[logged] for name, values in log.items()}
    if not log["clicked"].any():
        raise ValueError("nobody clicked in the log; simulate more auctions")
    dataset = _dataset(f"auctions-{auctions}-{seed}", world, asked, log)
    truth = AuctionTruth(
        hidden=hidden,
        noise=noise,
        value_micros=world.advertisers.value_micros,
        shade=world.advertisers.shade,
        daily_budget_micros=world.advertisers.daily_budget_micros,
        advertiser=world.advertiser,
        appeal=world.appeal,
        impression_ctr=log["ctr"],
        impression_hidden=log["hidden"],
        candidates=_candidates(dataset, asked, every, cut),
    )
    return dataset, truth


def _check(
    auctions: int, users: int, advertisers: int, days: int, hidden: float, noise: float, held_out: float
) -> None:
    if users < 1 or advertisers < 2 or days < 1 or auctions < 1000:
        raise ValueError(
            "a world needs 1 user, 2 advertisers, 1 day and 1,000 auctions at least; "
            f"got {users}, {advertisers}, {days}, {auctions}"
        )
    if not 0 <= hidden <= 5:
        raise ValueError(f"hidden: expected 0 to 5, got {hidden}")
    if not LEAST_NOISE <= noise <= 5:
        raise ValueError(f"noise: expected {LEAST_NOISE} to 5, got {noise}")
    if not 0 <= held_out <= 0.9:
        raise ValueError(f"held_out: expected 0 to 0.9, got {held_out}")


def _dataset(name: str, world: AuctionWorld, asked: Auctions, log: dict[str, NDArray[Any]]) -> Dataset:
    auction = log["auction"]
    users, placements = asked.user[auction].astype(np.int32), asked.placement[auction].astype(np.int16)
    click = np.flatnonzero(log["clicked"])
    # A click comes two seconds after what was shown.
    clicked_at = asked.time_ms[auction[click]] + 2000
    click, clicked_at = click[order := time_order(clicked_at)], clicked_at[order]
    ads = len(world.advertiser)
    return Dataset(
        name=name,
        item_fields=ITEM_FIELDS,
        user_fields=USER_FIELDS,
        item_ids=[f"ad-{row}" for row in range(ads)],
        item_records=world.item_records,
        item_created_ms=np.full(ads, START_MS, np.int64),
        item_available=np.ones(ads, bool),
        item_bid_micros=world.standing_bid_micros,
        user_ids=[f"user-{row}" for row in range(world.users)],
        user_records=world.user_records,
        event_kinds=("click",),
        event_user=users[click],
        event_item=log["item"][click],
        event_kind=np.zeros(len(click), np.int16),
        event_time_ms=clicked_at,
        event_value=np.full(len(click), np.nan, np.float32),
        placements=("default", *(place.name for place in PLACEMENTS)),
        event_placement=placements[click] + np.int16(1),
        impressions=Impressions(
            request_ids=[f"auction-{number}" for number in auction.tolist()],
            request=np.arange(len(auction), dtype=np.int32),
            user=users,
            item=log["item"],
            position=asked.position[auction].astype(np.int32),
            time_ms=asked.time_ms[auction],
            clicked=log["clicked"],
            propensity=log["propensity"],
            bid_micros=log["bid_micros"],
            market_price_micros=log["market_price_micros"],
            placement=placements + np.int16(1),
        ),
    )


def _candidates(dataset: Dataset, asked: Auctions, every: dict[str, NDArray[Any]], cut: int) -> Candidates:
    """Empty where nothing is held out."""
    auction = every["auction"] if every else np.zeros(0, np.int64)
    floor = np.array([place.floor_micros for place in PLACEMENTS], np.int64)

    def column(name: str, kind: Any) -> NDArray[Any]:
        return every[name].astype(kind) if every else np.zeros(0, kind)

    return Candidates(
        auction_ids=[f"auction-{number}" for number in range(cut, len(asked))],
        auction=(auction - cut).astype(np.int32),
        user=asked.user[auction].astype(np.int32),
        item=column("item", np.int32),
        time_ms=asked.time_ms[auction],
        placement=(asked.placement[auction] + 1).astype(np.int16),
        position=asked.position[auction].astype(np.int32),
        floor_micros=floor[asked.placement[auction]],
        bid_micros=column("bid_micros", np.int64),
        outside_micros=column("outside_micros", np.int64),
        outside_second_micros=column("outside_second_micros", np.int64),
        ctr=column("ctr", np.float32),
        mean_ctr=column("mean_ctr", np.float32),
        hidden=column("hidden", np.float32),
        clicked=column("clicked", bool),
        won=column("won", bool),
        item_ids=dataset.item_ids,
        user_ids=dataset.user_ids,
        placements=dataset.placements,
    )
