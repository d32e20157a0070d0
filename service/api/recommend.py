"""`POST /v1/recommend`: which items now, for this user?"""

from __future__ import annotations

from fastapi import APIRouter, Request

from service.api.context import CallOf, PartsOf, answer_list
from service.api.json_route import JsonResponse, JsonRoute
from service.api.list_schemas import ListOut
from service.api.query_schemas import RecommendIn
from service.api.requests import recommend_request

router = APIRouter(prefix="/v1", tags=["lists"], route_class=JsonRoute)


@router.post("/recommend", response_model=ListOut)
async def recommend(body: RecommendIn, request: Request, call: CallOf, parts: PartsOf) -> JsonResponse:
    """A list for a user, known or not; without `user_id` for whoever sent the `session`."""
    return await answer_list(parts, call, request, body, recommend_request(body, parts.settings.placements))
