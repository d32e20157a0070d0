"""Why an item is in a list, as the list itself says it."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ExplainedInterest(BaseModel):
    """An interest by its id in the bundle that answered."""

    id: str
    label: str


class ProposedOut(BaseModel):
    """A source that proposed the item: its score there, and the place in its list, from 1."""

    source: str
    score: float | None
    place: int


class EventWeightOut(BaseModel):
    """An event of the user and how much it weighed; `event` null = of a kind that the bundle lacks."""

    item_id: str
    event: str | None
    age_ms: int
    weight: float


class WeightiestOut(BaseModel):
    """The three events of the greatest weight, whatever its sign."""

    gate: list[EventWeightOut] = Field(description="Those that chose among the experts.")
    attention: list[EventWeightOut] = Field(description="Those that entered what the experts read.")


class ItemExplanation(BaseModel):
    """Why an item is where it is. `experts` and `events` are there if the bundle can explain its ranker."""

    sources: list[ProposedOut]
    interest: ExplainedInterest | None
    places: dict[str, int] = Field(description="Place after each step, from 1, in the order of the steps.")
    scores: dict[str, float | None] = Field(description="What each stage made of the item.")
    experts: list[float] | None = Field(None, description="Each expert's part of the ranker's logit.")
    events: WeightiestOut | None = None
