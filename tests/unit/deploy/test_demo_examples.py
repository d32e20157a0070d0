import json
import shlex
from collections.abc import Mapping

import httpx
import numpy as np
import pytest

from deploy.demo.examples import Examples, curl, moves, search_words, shorten, typical_user
from deploy.demo.trouble import DemoError
from models.data.dataset import Dataset
from models.schema import FieldKind


def small_dataset(histories: Mapping[str, list[str]], titles: Mapping[str, str]) -> Dataset:
    items = list(titles)
    pairs = [(user, item) for user, seen in histories.items() for item in seen]
    users = list(histories)
    return Dataset(
        name="small",
        item_fields={"title": FieldKind.TEXT},
        user_fields={},
        item_ids=items,
        item_records=[{"title": title} if title else {} for title in titles.values()],
        item_created_ms=np.zeros(len(items), np.int64),
        item_available=np.ones(len(items), bool),
        item_bid_micros=np.full(len(items), -1, np.int64),
        user_ids=users,
        user_records=[{} for _ in users],
        event_kinds=("view", "like"),
        event_user=np.array([users.index(user) for user, _ in pairs], np.int32),
        event_item=np.array([items.index(item) for _, item in pairs], np.int32),
        event_kind=np.zeros(len(pairs), np.int16),
        event_time_ms=np.arange(len(pairs), dtype=np.int64),
        event_value=np.full(len(pairs), np.nan, np.float32),
    )


TITLES = {"a": "Alpha", "b": "The Beta Story", "c": "", "d": "Delta"}
DATASET = small_dataset({"u1": ["a"], "u2": ["b"] * 30 + ["a", "d"]}, TITLES)


def test_the_user_is_one_with_about_forty_events():
    assert typical_user(DATASET) == "u2"


def test_the_search_is_for_a_word_of_a_well_known_title():
    assert search_words(DATASET) == "story"


def test_the_search_of_a_catalogue_without_titles_is_not_empty():
    assert search_words(small_dataset({"u": ["a"]}, {"a": ""})) == "new"


def test_what_moved_is_said_per_item():
    assert moves({"a": 1, "b": 2, "c": 3}, ["b", "c", "d"]) == ["was 2", "was 3", "new"]
    assert moves({"a": 1}, ["a"]) == [""]


def test_the_curl_line_sends_the_very_body():
    body = {"query": 'it\'s "quoted"', "count": 2}
    words = shlex.split(curl("http://x/v1/search", body))
    assert json.loads(words[words.index("-d") + 1]) == body


def test_a_long_title_is_cut_to_its_column():
    assert len(shorten("x" * 100)) == len(shorten("x" * 40)) == 40


def serving(answers: dict[str, httpx.Response]) -> Examples:
    """Examples against a service that answers by path."""
    examples = Examples(DATASET, "http://demo")
    examples._client = httpx.Client(
        base_url="http://demo", transport=httpx.MockTransport(lambda request: answers[request.url.path])
    )
    return examples


def a_list(*items: str) -> httpx.Response:
    return httpx.Response(
        200,
        json={
            "request_id": "r-1",
            "bundle_version": "v-1",
            "degraded": [],
            "items": [
                {"item_id": item, "rank": rank, "score": 1 / rank, "pctr": 0.5, "sources": ["similar"]}
                for rank, item in enumerate(items, start=1)
            ],
        },
    )


def test_an_answer_is_shown_with_titles_beside_the_ids(capsys):
    known = httpx.Response(200, json={"events": [{"item_id": "d"}, {"item_id": "a"}]})
    items = serving({"/v1/recommend": a_list("b", "c"), "/v1/users/u2": known}).recommend()
    shown = capsys.readouterr().out
    assert [item["item_id"] for item in items] == ["b", "c"]
    assert "who last saw Delta; Alpha?" in shown
    assert "The Beta Story" in shown
    assert "bundle v-1" in shown
    first, second = [line for line in shown.splitlines() if "similar" in line]
    assert first.index("similar") == second.index("similar")


def test_after_the_event_the_list_says_what_is_new(capsys):
    examples = serving({"/v1/recommend": a_list("c", "d"), "/v1/events": httpx.Response(202, json={})})
    examples.react([{"item_id": "b"}, {"item_id": "c"}])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.endswith("was 2") for line in lines)
    assert any("Delta" in line and line.endswith("new") for line in lines)
    assert "  left the list: The Beta Story" in lines
    assert any("/v1/events" in line for line in lines)


def test_a_refused_call_stops_the_demo_with_the_answer():
    examples = serving({"/v1/search": httpx.Response(422, text="query: too long")})
    with pytest.raises(DemoError, match="422: query: too long"):
        examples.search()
