"""What operators and orchestrators ask: alive, ready, metrics."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from service.api.context import PartsOf
from service.api.json_route import JsonResponse
from service.api.operation_schemas import ReadyOut
from service.errors import NotReady
from service.features.store import StoreUnavailable

router = APIRouter(tags=["operations"])


@router.get("/healthz")
async def healthz() -> JsonResponse:
    """The process is alive; says nothing about its dependencies."""
    return JsonResponse({"status": "alive"})


@router.get("/readyz", response_model=ReadyOut)
async def readyz(parts: PartsOf) -> JsonResponse:
    """Ready once real requests went through the cascade; without the store answers are poorer, but there."""
    try:
        version = parts.recommender.engine.bundle.version
    except NotReady:
        return JsonResponse({"status": "starting", "bundle_version": None, "checks": {}}, 503)
    try:
        await parts.store.ping()
        store = "ok"
    except StoreUnavailable:
        store = "unavailable"
    return JsonResponse({"status": "ready", "bundle_version": version, "checks": {"store": store}})


@router.get("/metrics")
async def metrics(parts: PartsOf, request: Request) -> Response:
    """What Prometheus scrapes: the series of all workers, whichever of them is asked."""
    scrape = getattr(request.app.state, "scrape", None)
    content = await (asyncio.to_thread(parts.metrics.render) if scrape is None else scrape())
    return Response(content, media_type=CONTENT_TYPE_LATEST)
