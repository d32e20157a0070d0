"""Interests: all of a bundle, the mixture of one user, and what the user pins and mutes."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response
from starlette.routing import Match

from service.api.context import CallOf, PartsOf, now_ms
from service.api.entrance import Call
from service.api.fields import Id
from service.api.interest_list import describe, describe_all
from service.api.interest_schemas import InterestPatch, InterestsOut, UserInterestsOut
from service.api.json_route import JsonResponse, JsonRoute
from service.cascade.hydrate import Moment
from service.cascade.preferences import clusters_of, resolve
from service.cascade.query import Request, UserId
from service.engine import Engine
from service.errors import CallerError, Degraded
from service.features.store import Preference, PreferenceKind, UserRecord
from service.interest_anchors import anchors_of
from service.interest_names import OWN_ID
from service.parts import Parts

_END = b"/interests"


class _AfterAnyId(JsonRoute):
    """Ends with "/interests" as it was sent: a user's id that does has its slash percent-encoded."""

    def matches(self, scope: MutableMapping[str, Any]) -> tuple[Match, Any]:
        match, child = super().matches(scope)
        sent = scope.get("raw_path")
        if match is not Match.NONE and sent is not None and not sent.partition(b"?")[0].endswith(_END):
            return Match.NONE, {}
        return match, child


router = APIRouter(prefix="/v1", tags=["interests"], route_class=_AfterAnyId)
_PATH = "/users/{user_id:path}/interests"


@router.get("/interests", response_model=InterestsOut)
async def get_interests(parts: PartsOf) -> JsonResponse:
    """Every interest that a user can pin or mute in the bundle that serves now."""
    return JsonResponse(describe_all(parts.recommender.engine))


@router.get(_PATH, response_model=UserInterestsOut)
async def get_user_interests(user_id: Id, call: CallOf, parts: PartsOf) -> JsonResponse:
    """A user as a mixture of interests, and the events behind each; an unknown user has everybody's."""
    return await _described(parts, call, UserId(user_id))


@router.patch(_PATH, response_model=UserInterestsOut)
async def patch_user_interests(
    user_id: Id, body: InterestPatch, call: CallOf, parts: PartsOf
) -> JsonResponse:
    """Pin, mute or reset one interest; the answer is the new mixture, and the next list obeys it."""
    user, engine = UserId(user_id), parts.recommender.engine
    cluster = _cluster_of(engine, body.id)
    record = await parts.store.fetch(user)
    placed = clusters_of(record.preferences, engine.catalogue)
    earlier = [one.interest for one, at in zip(record.preferences, placed, strict=True) if at == cluster]
    if body.action == "reset":
        await parts.store.prefer(user, earlier, None)
        return await _described(parts, call, user)
    kind = PreferenceKind(body.action)
    if kind is PreferenceKind.PIN:
        _check_pins(engine, record, cluster)
    anchors = anchors_of(cluster, record, engine)
    if not anchors:
        raise CallerError("id", f"no item is of interest {body.id!r}, so it cannot be pinned or muted")
    new = Preference(body.id, kind, now_ms(), anchors)
    resting = [one.interest for one, at in zip(record.preferences, placed, strict=True) if at < 0]
    stored = await parts.store.prefer(user, earlier, new)
    if not stored and resting:
        stored = await parts.store.prefer(user, [*earlier, *resting], new)
    if not stored:
        count = len(record.preferences)
        raise CallerError("action", f"{count} interests are pinned or muted, no more can be; reset one first")
    return await _described(parts, call, user)


@router.delete(_PATH, status_code=204)
async def delete_user_interests(user_id: Id, parts: PartsOf) -> Response:
    """Reset all interests of a user at once."""
    user = UserId(user_id)
    record = await parts.store.fetch(user)
    await parts.store.prefer(user, [one.interest for one in record.preferences], None)
    return Response(status_code=204)


def _cluster_of(engine: Engine, interest: str) -> int:
    """The cluster of an id.

    Raises:
        CallerError: the bundle has no such interest.
    """
    if interest == OWN_ID:
        raise CallerError("id", f"{OWN_ID!r} is the taste as a whole; only single interests can be changed")
    cluster = engine.names.labels.cluster_of(interest)
    if cluster is None:
        version = engine.bundle.version
        raise CallerError("id", f"bundle {version} has no interest {interest!r}; GET lists those it has")
    return cluster


def _check_pins(engine: Engine, record: UserRecord, cluster: int) -> None:
    """Every pin takes one of the places in the mixture.

    Raises:
        CallerError: all of them are pinned.
    """
    others = resolve(record.preferences, engine.catalogue).pinned
    if (others != cluster).sum() >= engine.plan.interests:
        raise CallerError(
            "action", f"{engine.plan.interests} interests are pinned, no more can be; reset one first"
        )


async def _described(parts: Parts, call: Call, user: UserId) -> JsonResponse:
    """The mixture as the next recommendation will make it.

    Raises:
        Degraded: the interest model failed; recommendations go on without it.
    """
    record = await parts.store.fetch(user)
    engine = parts.recommender.engine
    moment = Moment(call.request_id, now_ms())
    query = engine.know(engine.hydrate(Request(user_id=user), record, moment))
    if query.state.interests is None:
        raise Degraded("interests", "they could not be computed; the log says why")
    return JsonResponse(describe(user, record, query, query.state.interests, engine))
