"""What answers say of their auction."""

from __future__ import annotations

from pydantic import BaseModel, Field


class SponsoredOut(BaseModel):
    """What an advertiser bid for a click on this place, and pays for one."""

    advertiser_id: str
    currency: str
    bid_micros: int
    price_micros: int


class CompetitorOut(BaseModel):
    """An ad with a price on it; one of price 0 lost, and would have won with a bid of `to_win_micros`."""

    item_id: str
    pctr: float
    bid_micros: int
    ecpm_micros: float
    price_micros: int
    to_win_micros: int


class AuctionOut(BaseModel):
    """What became of the slots of this page, where it may sell any or was asked to."""

    currency: str | None = None
    slots: list[int] = Field(description="Places that could be sold, from 1 over all pages.")
    sold: int
    reason: str | None = Field(
        None,
        description="Why no auction was held: placement, plan, ranker, store, deadline or budgets; then "
        "`degraded` has `sponsored`.",
    )
    calibration: str | None = Field(
        None,
        description="What was priced with, where that is not the bundle's own calibrator: "
        "previous (the one before), refit (fitted on recent clicks) or distrusted (one that recent clicks "
        "contradict, for want of a better one; then `degraded` has `calibration`).",
    )
    competitors: list[CompetitorOut] | None = Field(None, description="Best first, when `explain` was asked.")
    ended: dict[str, int] | None = Field(
        None, description="How many ads of the catalogue ended where, when `explain` was asked."
    )
