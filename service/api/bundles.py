"""`/v1/bundles`: which versions there are, and which one is served."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from service.api.bundle_schemas import ActivatedOut, BundlesOut
from service.api.context import PartsOf
from service.api.json_route import JsonResponse
from service.api.operator import OperatorOnly
from service.switch import Activated

router = APIRouter(prefix="/v1/bundles", tags=["operations"])
Version = Annotated[str, Path(min_length=1, max_length=200)]


@router.get("", response_model=BundlesOut)
async def bundles(parts: PartsOf) -> JsonResponse:
    """The bundles on disk, newest first: which is served, which was before, which were refused, and why."""
    listing = await parts.switch.listing()
    content = {
        "pinned": listing.pinned,
        "bundles": [
            {
                "version": one.found.manifest.version,
                "created": one.found.manifest.created,
                "active": one.active,
                "before": one.before,
                "workers": one.workers,
                "refused": one.refused,
                "metrics": one.found.manifest.metrics,
            }
            for one in listing.bundles
        ],
        "broken": [{"folder": name, "reason": reason} for name, reason in listing.broken],
    }
    return JsonResponse(content)


@router.post("/{version}/activate", response_model=ActivatedOut, dependencies=[OperatorOnly])
async def activate(version: Version, parts: PartsOf) -> JsonResponse:
    """Serve a version from now on, in all workers; `latest` is the newest one, and pins none.

    The answer comes when the worker that was asked serves it; the others follow. A bundle that cannot be
    trusted is refused with 409, and the one in use stays.
    """
    return _told(await parts.switch.activate(version))


@router.post("/rollback", response_model=ActivatedOut, dependencies=[OperatorOnly])
async def roll_back(parts: PartsOf) -> JsonResponse:
    """Activate the version before; 409 if there is none."""
    return _told(await parts.switch.roll_back())


def _told(done: Activated) -> JsonResponse:
    return JsonResponse(
        {
            "version": done.version,
            "before": done.before,
            "pinned": done.pinned,
            "seconds": round(done.seconds, 3),
        }
    )
