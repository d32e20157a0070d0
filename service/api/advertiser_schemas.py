"""Bodies of `/v1/advertisers`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from service.api.fields import Body, Currency

LARGEST_BUDGET = 10**15
"""Micros: a thousand million units a day."""


class BudgetIn(Body):
    """What an advertiser spends at most in a day."""

    daily_budget_micros: int = Field(ge=0, le=LARGEST_BUDGET, description="A day is one of UTC.")
    currency: Currency
    pacing: Literal["even", "asap"] = Field(
        "even", description="even: in proportion to the time of day, an hour ahead; asap: as it is won."
    )


class ChargeOut(BaseModel):
    """A click that was paid; `micros` is 0 where the budget was used up."""

    request_id: str
    item_id: str
    price_micros: int
    micros: int
    day: int
    served_at: int
    clicked_at: int


class AdvertiserOut(BaseModel):
    """An account as it is now.

    `spent_micros` is of `day` (yyyymmdd, UTC), `reserved_micros` what served slots may still cost, and
    `remaining_micros` the rest of the budget, of which `available_micros` may be bid now under the pacing.
    `total_micros` and the clicks are of all days.
    """

    advertiser_id: str
    currency: str
    daily_budget_micros: int
    pacing: str
    day: int
    spent_micros: int
    reserved_micros: int
    remaining_micros: int
    available_micros: int
    total_micros: int
    clicks: int
    unfunded_clicks: int
    charges: list[ChargeOut] | None = Field(None, description="The newest ones, as many as were asked for.")
