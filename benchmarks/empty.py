"""A FastAPI service that does nothing: what HTTP, routing and validation cost by themselves."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel


class Call(BaseModel):
    """As much of a call for a list as the benchmark's calls have."""

    user_id: str
    count: int = 20


class Answer(BaseModel):
    """Nothing."""

    items: list[str]


app = FastAPI()


@app.get("/readyz")
async def ready() -> dict[str, str]:
    """At once."""
    return {"status": "ready"}


@app.post("/v1/recommend")
async def recommend(call: Call) -> Answer:
    """An empty list."""
    return Answer(items=[])
