"""What the routes share: the parts of the app, the call they serve, and how a list is answered."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import Depends, Request

from service.api.entrance import LEFT, Call, call_of
from service.api.json_route import JsonResponse
from service.api.lists import render
from service.api.query_schemas import ListIn, RecommendIn
from service.cascade import query as cascade
from service.cascade.hydrate import Moment
from service.parts import Parts
from service.recommender import SPONSORED


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


async def _call(request: Request) -> Call:
    return call_of(request)


NO_SLOTS = {"slots": [], "sold": 0, "reason": "placement"}
"""What an answer says of its auction at a placement that sells nothing."""

PartsOf = Annotated[Parts, Depends(_parts)]
CallOf = Annotated[Call, Depends(_call)]


def _here() -> bool:
    return False


async def _nobody() -> bool:
    return False


def now_ms() -> int:
    """The wall clock in milliseconds."""
    return int(time.time() * 1000)


async def answer_list(
    parts: Parts, call: Call, connection: Request, body: ListIn, request: cascade.Request
) -> JsonResponse:
    """Answer any call for a list; its deadline counts from the door."""
    placed = parts.settings.placements.get(body.placement)
    budget_ms = body.deadline_ms or (placed and placed.deadline_ms) or parts.settings.deadline_ms
    moment = Moment(call.request_id, now_ms(), call.arrived + budget_ms / 1000)
    left = connection.scope.get(LEFT)
    # Asking the framework is an `await`, in which others would take this call's turn.
    gone = connection.is_disconnected if left is None else _nobody
    answered = await parts.recommender.answer(request, moment, gone, left or _here)
    content = render(answered)
    if answered.auction is None and isinstance(body, RecommendIn) and body.sponsored:
        content["degraded"].append(SPONSORED)
        content["auction"] = NO_SLOTS
    return JsonResponse(content)
