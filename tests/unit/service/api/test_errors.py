from __future__ import annotations

import json

import pytest

from models.artifacts import BundleError
from service.api.errors import PROBLEM, TABLE, path_of, to_response
from service.errors import (
    CallerError,
    CascadaError,
    ContractViolation,
    NotFound,
    NotReady,
    OperatorError,
    Shed,
)
from service.features.store import StoreUnavailable


@pytest.mark.parametrize(
    ("location", "path"),
    [
        (("body", "items", 0, "item_id"), "items[0].item_id"),
        (("body", "count"), "count"),
        (("path", "item_id"), "item_id"),
        (("body",), ""),
        (("body", "attributes", "a.b", "[key]"), "attributes.a.b.[key]"),
    ],
)
def test_a_path_reads_as_a_caller_would_write_it(location: tuple[object, ...], path: str) -> None:
    assert path_of(location) == path


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (CallerError("filter.all[1].value", "must be a number"), 422, "invalid"),
        (NotFound("item", "i1"), 404, "not-found"),
        (Shed("busy", 2.5), 503, "overloaded"),
        (NotReady("soon"), 503, "not-ready"),
        (StoreUnavailable("TimeoutError: redis at 10.0.0.7"), 503, "store-unavailable"),
        (OperatorError("full"), 507, "operator"),
        (BundleError("x: sha256 is"), 409, "bad-bundle"),
        (ContractViolation("rank", "gave 3 of 4"), 500, "defect"),
        (ZeroDivisionError("secret"), 500, "defect"),
    ],
)
def test_each_error_has_its_status_and_a_problem_body(error: Exception, status: int, code: str) -> None:
    answer = to_response(error)
    body = json.loads(bytes(answer.body))
    assert (answer.status_code, answer.media_type) == (status, PROBLEM)
    assert (body["status"], body["code"], body["type"]) == (status, code, "about:blank")


def test_a_callers_error_names_the_field() -> None:
    body = json.loads(bytes(to_response(CallerError("filter.all[1].value", "must be a number")).body))
    assert body["errors"] == [{"path": "filter.all[1].value", "message": "must be a number"}]


def test_ours_to_wait_for_says_how_long() -> None:
    assert to_response(Shed("busy", 2.5)).headers["retry-after"] == "3"
    assert to_response(NotReady("soon")).headers["retry-after"] == "1"


@pytest.mark.parametrize("error", [ZeroDivisionError("s3cret"), StoreUnavailable("s3cret host")])
def test_what_is_inside_stays_inside(error: Exception) -> None:
    assert b"s3cret" not in bytes(to_response(error).body)


def test_every_error_of_ours_is_in_the_table() -> None:
    def below(kind: type[Exception]) -> set[type[Exception]]:
        return {kind}.union(*(below(one) for one in kind.__subclasses__()))

    assert below(CascadaError) - {CascadaError} <= set(TABLE)
