from __future__ import annotations

import json
import logging
import sys

import pytest

from service.logs import CONTEXT, JsonFormatter, TextFormatter, add_context


def record(**extra: object) -> logging.LogRecord:
    one = logging.makeLogRecord({"name": "cascada.x", "levelname": "INFO", "msg": "got %d", "args": (3,)})
    vars(one).update(extra)
    return one


@pytest.fixture(autouse=True)
def own_context() -> object:
    token = CONTEXT.set({})
    yield
    CONTEXT.reset(token)


def test_a_line_is_json_with_the_context_and_the_fields() -> None:
    add_context(request_id="r1")
    add_context(bundle_version="b1")
    line = json.loads(JsonFormatter().format(record(status=200)))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "cascada.x",
        "message": "got 3",
        "request_id": "r1",
        "bundle_version": "b1",
        "status": 200,
    }


def test_whatever_a_field_holds_the_line_stays_one_line_of_json() -> None:
    odd = {"object": object(), "text": "a\nb", "number": float("nan"), "keys": {1: 2}}
    text = JsonFormatter().format(record(**odd))
    assert "\n" not in text
    assert json.loads(text)["text"] == "a\nb"


def test_an_error_carries_its_trace() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        one = record(exc_info=sys.exc_info())
    assert "ValueError: why" in json.loads(JsonFormatter().format(one))["error"]
    assert "ValueError: why" in TextFormatter().format(one)


def test_text_shows_the_same_fields() -> None:
    add_context(request_id="r1")
    assert TextFormatter().format(record(status=200)).endswith("info    got 3 request_id=r1 status=200")
