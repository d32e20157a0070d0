"""Placements: what a call for a list means where it does not say everything itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from models.plan import Plan
from ranking.auction import LARGEST_BID
from service.api.fields import Body, Count, Currency, Json
from service.api.query_schemas import BoostIn, CapIn, OwnIn
from service.cascade.cursor import LIMIT
from service.cascade.query import Selling
from service.catalogue import Catalogue
from service.errors import CallerError, OperatorError

DEFAULT = "default"
"""The placement of a call that names none."""


class UserCapIn(Body):
    """How often a user may see ads of one advertiser."""

    impressions: int = Field(ge=1)
    hours: float = Field(24.0, gt=0, le=720)


class SponsoredIn(Body):
    """What a placement sells."""

    slots: list[Annotated[int, Field(ge=1, le=LIMIT)]] = Field(min_length=1, max_length=50)
    reserve_micros: int = Field(ge=1, le=LARGEST_BID)
    currency: Currency
    per_advertiser: int = Field(1, ge=1, le=50)
    user_cap: UserCapIn | None = None

    @field_validator("slots")
    @classmethod
    def _ascending(cls, value: list[int]) -> list[int]:
        if sorted(set(value)) != value:
            raise ValueError("must be places from 1, rising, each once")
        return value

    @property
    def selling(self) -> Selling:
        """The same for the cascade."""
        cap = self.user_cap
        return Selling(
            slots=tuple(self.slots),
            reserve_micros=self.reserve_micros,
            currency=self.currency,
            per_advertiser=self.per_advertiser,
            user_most=None if cap is None else cap.impressions,
            user_hours=24.0 if cap is None else cap.hours,
        )


class Placement(Body):
    """What holds at one placement.

    `count`, `diversity`, `include_seen`, `exclude_own`, `caps` and `deadline_ms` hold where a call says
    nothing of them. The filter holds besides the call's own, and boosts multiply: what the operator rules
    out stays out. `plan` overrides single keys of the service's plan. With `sponsored` some of its places are
    sold.
    """

    count: Count | None = None
    filter: Json | None = None
    boost: list[BoostIn] = Field([], max_length=16)
    diversity: float | None = Field(None, ge=0, le=1)
    include_seen: bool | None = None
    exclude_own: OwnIn | None = None
    caps: list[CapIn] = Field([], max_length=8)
    deadline_ms: int | None = Field(None, ge=1, le=60_000)
    plan: dict[str, Any] = Field({})
    sponsored: SponsoredIn | None = None

    @field_validator("plan")
    @classmethod
    def _usable(cls, value: dict[str, Any]) -> dict[str, Any]:
        return usable_plan(value)


Placements = Mapping[str, Placement]


def usable_plan(value: dict[str, Any]) -> dict[str, Any]:
    """Overrides of a plan, as they came.

    Raises:
        ValueError: a key is unknown, or has a value that it cannot have.
    """
    whole = Plan.from_json(value).to_json()
    try:
        TypeAdapter(Plan).validate_python(whole)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{key}: {first['msg']}") from None
    return value


def plans(plan: Plan, placements: Placements) -> dict[str, Plan]:
    """The plan of each placement that has one of its own."""
    return {
        name: Plan.from_json({**plan.to_json(), **placement.plan})
        for name, placement in placements.items()
        if placement.plan
    }


def check_selling(plan: Plan, placements: Placements) -> None:
    """Refuse to sell where nothing says how likely a click is.

    Raises:
        OperatorError: names the placement.
    """
    own = plans(plan, placements)
    for name, placement in placements.items():
        depth = own.get(name, plan).depth
        if placement.sponsored is not None and depth != "rank":
            raise OperatorError(
                f"placements.{name}.sponsored: the plan ends at {depth!r}, but a price needs the ranker's "
                "click probability; set plan.depth to 'rank' or remove the section"
            )


def check_placements(placements: Placements, catalogue: Catalogue) -> None:
    """Compile every rule of the placements once.

    Raises:
        OperatorError: one does not fit the bundle's items; names its place.
    """
    for name, placement in placements.items():
        where = f"placements.{name}"
        try:
            if placement.filter is not None:
                catalogue.rules.mask(placement.filter, "filter")
            if placement.boost:
                catalogue.rules.factors([boost.model_dump() for boost in placement.boost], "boost")
            for i, cap in enumerate(placement.caps):
                catalogue.check_label(cap.field, f"caps[{i}].field")
            if placement.exclude_own is not None:
                catalogue.check_label(placement.exclude_own.field, "exclude_own.field")
        except CallerError as error:
            raise OperatorError(f"{where}.{error.path}: {error.message}") from None
