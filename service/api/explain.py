"""`GET /v1/explain`: why an item is in an earlier answer, and why not."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from service.api.context import PartsOf
from service.api.json_route import JsonResponse, JsonRoute
from service.api.why_schemas import ExplainIn, WhyOut

router = APIRouter(prefix="/v1", tags=["explain"], route_class=JsonRoute)


@router.get("/explain", response_model=WhyOut)
async def explain(asked: Annotated[ExplainIn, Query()], parts: PartsOf) -> JsonResponse:
    """What became of any item of the catalogue in an answer that left a trace.

    Traces are left by calls with `explain` or `trace`, and by a share of all others (`trace_share`). An
    unknown or forgotten `request_id` is 404 and says how long traces are kept; so is an unknown item.
    """
    return JsonResponse(await parts.explainer.why(asked.request_id, asked.item_id, asked.counterfactual))
