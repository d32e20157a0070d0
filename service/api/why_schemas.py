"""The parameters and the body of `GET /v1/explain`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from service.api.explain_schemas import ExplainedInterest, ItemExplanation
from service.api.fields import Id


class ExplainIn(BaseModel):
    """`GET /v1/explain`"""

    model_config = ConfigDict(extra="forbid")

    request_id: Id = Field(description="Of the answer, as it stands in its body and in X-Request-Id.")
    item_id: Id = Field(description="Any item of the catalogue.")
    counterfactual: bool = Field(
        False, description="Re-run the answer without each of the user's newest items."
    )


class ScoredItem(BaseModel):
    """An item and its score."""

    item_id: str
    score: float | None


class CutOut(BaseModel):
    """Where a round cut the item: `place` in its order (from 1), of which it `kept` so many.

    `last_kept` is the kept item of the least score `by` which the round cuts, `margin` the item's score above
    it; both are absent where it goes by places. `passed_over`: items with a lower score were kept, by a
    rule: caps, pins, exploration or diversity.
    """

    stage: str
    reason: str
    place: int | None
    kept: int | None
    by: str | None = None
    score: float | None = None
    last_kept: ScoredItem | None = None
    margin: float | None = None
    passed_over: bool | None = None


class FilteredOut(BaseModel):
    """What ruled the item out: the filters `by` name, and the `rules` of the call by their paths.

    `before_retrieval`: the sources knew and did not even propose it.
    """

    by: list[str]
    rules: list[str]
    before_retrieval: bool


class InterestReachOut(BaseModel):
    """The item in one interest's list of so many `places`, and the `rank` it would have had."""

    interest: ExplainedInterest
    score: float
    rank: int
    places: int
    worst_taken: float | None


class ReachOut(BaseModel):
    """How far the item was from what a source took; score and rank null: it is in none of its lists."""

    source: str
    score: float | None
    rank: int | None
    taken: int
    worst_taken: float | None
    note: str
    interests: list[InterestReachOut]


class WithoutOut(BaseModel):
    """The list had the user no event of `items`: the item's rank and score in it, null = it drops out.

    `takes_the_place`: one of these items, unseen then, is itself in that list.
    """

    items: list[str]
    rank: int | None
    score: float | None
    takes_the_place: bool


class CounterfactualOut(BaseModel):
    """Which events put the item into the list: those without which it drops out of an exact re-run.

    Of the user's distinct `items`, newest first, `considered` were taken away one at a time in `runs`
    re-runs; pairs only where none alone suffices. `complete` false: time ran out (`counterfactual_seconds`).
    """

    rank: int | None
    causes: list[WithoutOut]
    others: list[WithoutOut]
    items: int
    considered: int
    runs: int
    complete: bool


class AdTerms(BaseModel):
    """What an ad bid, what it came to and what it paid; `to_win_micros` would have won the last slot."""

    pctr: float
    bid_micros: int
    ecpm_micros: float
    price_micros: int
    to_win_micros: int


class WinnerOut(AdTerms):
    """An ad that won."""

    item_id: str
    advertiser_id: str


class AdOut(BaseModel):
    """What became of an ad: "won", or the stage and reason that stopped it, as in "auction.reserve".

    `bid` is there if it competed, `winners` are those who had the slots where it did not.
    """

    currency: str
    ended: str | None
    advertiser_id: str | None
    bid: AdTerms | None
    winners: list[WinnerOut]


class WhyOut(BaseModel):
    """What became of an item in an earlier answer, and how close it was to something else.

    `replayed`: whether a re-run of the trace gives the same list bit for bit; null where there can be none.
    `untold` names the parts that cannot be told, with the reason.
    """

    request_id: str
    item_id: str
    title: str | None
    cascade: str
    placement: str
    answered_at: int
    bundle_version: str
    bundle_in_use: bool
    replayed: bool | None
    degraded: list[str]
    verdict: Literal["returned", "cut", "filtered", "not_retrieved"]
    summary: str
    rank: int | None
    explain: ItemExplanation | None = Field(None, description="Of every item that a source proposed.")
    cut: CutOut | None = None
    filtered: FilteredOut | None = None
    retrieval: list[ReachOut] | None = None
    ad: AdOut | None = Field(None, description="Of an item with a bid, where slots were to be sold.")
    counterfactual: CounterfactualOut | None = None
    untold: dict[str, str]
