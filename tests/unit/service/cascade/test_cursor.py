from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cascade.cursor import LIMIT, Cursor, Cursors
from service.cascade.query import ItemId, Kind, Request, SessionEvent, UserId
from service.errors import CallerError

REQUEST = Request(user_id=UserId("u"), filter={"field": "year", "op": ">", "value": 1})


def text_of(request: Request, trail: list[int], cursors: Cursors | None = None) -> str:
    return (cursors or Cursors()).write(request, Cursor(7, np.array(trail, np.uint32)))


@given(st.lists(st.integers(0, 2**32 - 1), max_size=50), st.integers(0, 2**32 - 1))
def test_a_cursor_comes_back_as_it_was_written(trail: list[int], seed: int) -> None:
    text = Cursors().write(REQUEST, Cursor(seed, np.array(trail, np.uint32)))
    back = Cursors().read(replace(REQUEST, cursor=text))

    assert (back.seed, back.trail.tolist()) == (seed, trail)


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "!!!!", "é", "A" * 4000, base64.urlsafe_b64encode(b"x" * 40).decode()],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(CallerError, match=r"^cursor: "):
        Cursors().read(replace(REQUEST, cursor=text))


def test_every_altered_byte_is_noticed() -> None:
    raw = base64.urlsafe_b64decode(text_of(REQUEST, [1, 2, 3]) + "=")
    for i in range(len(raw)):
        altered = base64.urlsafe_b64encode(raw[:i] + bytes([raw[i] ^ 1]) + raw[i + 1 :]).decode()
        with pytest.raises(CallerError):
            Cursors().read(replace(REQUEST, cursor=altered.rstrip("=")))


def test_a_cursor_of_another_key_is_refused() -> None:
    with pytest.raises(CallerError):
        Cursors(b"mine").read(replace(REQUEST, cursor=text_of(REQUEST, [1], Cursors(b"theirs"))))


def test_a_cursor_longer_than_any_list_is_refused() -> None:
    assert len(Cursors().read(replace(REQUEST, cursor=text_of(REQUEST, [1] * LIMIT))).trail) == LIMIT
    with pytest.raises(CallerError):
        Cursors().read(replace(REQUEST, cursor=text_of(REQUEST, [1] * (LIMIT + 1))))


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": UserId("other")},
        {"kind": Kind.SEARCH},
        {"text": "words"},
        {"item_id": ItemId("x")},
        {"placement": "home"},
        {"filter": None},
        {"include_seen": True},
        {"boost": [{"filter": {}, "factor": 2.0}]},
    ],
)
def test_a_cursor_continues_no_other_list(change: dict[str, Any]) -> None:
    with pytest.raises(CallerError, match="another list"):
        Cursors().read(replace(REQUEST, cursor=text_of(REQUEST, [1]), **change))


@pytest.mark.parametrize(
    "change",
    [
        {"count": 3},
        {"session": (SessionEvent(ItemId("x"), "view"),)},
        {"exclude_items": (ItemId("x"),)},
        {"explain": True},
    ],
)
def test_what_does_not_change_the_list_may_change_between_pages(change: dict[str, Any]) -> None:
    assert Cursors().read(replace(REQUEST, cursor=text_of(REQUEST, [1]), **change)).trail.tolist() == [1]


def test_another_spelling_of_the_same_bytes_is_refused() -> None:
    """The last character of base64 may hold bits that no byte does, so that several decode alike."""
    text = text_of(REQUEST, [1, 2, 3])
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for other in alphabet.replace(text[-1], ""):
        with pytest.raises(CallerError):
            Cursors().read(replace(REQUEST, cursor=text[:-1] + other))
