from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from tests.support.live_service import ids, row_of


def search(client: httpx.Client, query: str, **body: Any) -> httpx.Response:
    return client.post("/v1/search", json={"query": query, **body})


def similar(client: httpx.Client, item: str, **body: Any) -> httpx.Response:
    return client.post("/v1/similar", json={"item_id": item, **body})


def test_words_find_the_items_that_have_them(client: httpx.Client) -> None:
    items = ids(search(client, "western", count=20))
    assert len(items) == 20
    assert all(row_of(item) % 4 == 3 for item in items)
    assert "item-7" not in items


def test_the_exact_title_comes_first(client: httpx.Client) -> None:
    assert ids(search(client, "The drama number 45", count=5))[0] == "item-45"


def test_words_that_nobody_has_find_nothing(client: httpx.Client) -> None:
    assert ids(search(client, "zzyzx")) == []


NASTY = [
    '"', "title:(", "AND OR NOT", "a" * 10_000, "drama " * 1_666, "x y z " * 1_600, "*", "~^[]{}\\", "日本",
    "本" * 10_000, "\x00\x01\x1f", "\u202e\u200b", "dra\x00ma", "é" * 10_000, "e" + "\u0301" * 9_000,
    "'; DROP", "\uffff", "\U0010ffff",
]  # fmt: skip


@pytest.mark.parametrize("query", NASTY)
def test_no_words_are_an_error_and_no_text_takes_long(client: httpx.Client, query: str) -> None:
    started = time.process_time()  # the service is in this process; others may have the cores
    answer = search(client, query)
    assert answer.status_code == 200, answer.text
    assert len(ids(answer)) <= 20
    assert answer.json()["degraded"] == []
    assert time.process_time() - started < 2.0


def test_a_text_that_is_too_long_names_its_field(client: httpx.Client) -> None:
    answer = search(client, "a" * 10_001)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "query"


@pytest.mark.parametrize("query", ["", "  ", "...!?", "😀", "\x00\t\n", "-", "\u200b"])
def test_a_query_without_words_recommends(client: httpx.Client, query: str) -> None:
    assert len(ids(search(client, query))) == 20


@pytest.mark.parametrize("query", ["westren", "wesern", "WÉSTERN", "ｗｅｓｔｅｒｎ", "western!!", "weste"])
def test_typos_accents_width_and_beginnings_are_understood(client: httpx.Client, query: str) -> None:
    items = ids(search(client, query))
    assert len(items) == 20
    assert all(row_of(item) % 4 == 3 for item in items)


def test_a_live_item_is_found_in_any_script(client: httpx.Client) -> None:
    record = {"title": "東京物語 Été", "attributes": {"genres": ["drama"]}}
    assert client.put("/v1/items/live-tokyo", json=record).status_code == 200
    for query in ("東京", "物語", "ete", "été 東京", "東京物語 drama"):
        assert ids(search(client, query))[0] == "live-tokyo", query
    client.delete("/v1/items/live-tokyo")
    assert "live-tokyo" not in ids(search(client, "東京"))


def test_a_search_obeys_filter_and_exclusion(client: httpx.Client) -> None:
    first = ids(search(client, "comedy", count=3))
    rule = {"field": "year", "op": "<", "value": 1980}
    items = ids(search(client, "comedy", filter=rule, exclude_items=first))
    assert items
    assert not set(first) & set(items)
    assert all(row_of(item) < 30 for item in items)


def test_pages_of_a_search_do_not_repeat(client: httpx.Client) -> None:
    answer = search(client, "horror", count=10)
    more = search(client, "horror", count=10, cursor=answer.json()["next_cursor"])
    assert not set(ids(answer)) & set(ids(more))
    assert len(ids(more)) == 10


def test_similar_items_share_the_taste_and_leave_the_item_out(client: httpx.Client) -> None:
    items = ids(similar(client, "item-6", count=10))
    assert "item-6" not in items
    assert sum(row_of(item) % 4 == 2 for item in items) >= 8


def test_similar_to_nothing_is_404(client: httpx.Client) -> None:
    answer = similar(client, "no such item")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not-found"


def test_each_relation_is_asked_for_by_name(client: httpx.Client) -> None:
    assert ids(similar(client, "item-6", count=5)) == ids(
        similar(client, "item-6", count=5, relation="similar")
    )
    answer = similar(client, "item-6", count=5, relation="complementary", explain=True)
    assert answer.status_code == 200
    body = answer.json()
    assert body["degraded"] == ["complements"], "the tiny bundle has no dual vectors"
    assert len(body["items"]) == 5
    assert "relevance" in body["items"][0]["explain"]["scores"]
    page = similar(client, "item-6", count=2, relation="complementary")
    more = similar(client, "item-6", count=2, relation="complementary", cursor=page.json()["next_cursor"])
    assert not set(ids(page)) & set(ids(more))


def test_complements_of_nothing_are_404(client: httpx.Client) -> None:
    answer = similar(client, "no such item", relation="complementary")
    assert answer.status_code == 404
    assert "no such item" in answer.json()["detail"]


@pytest.mark.parametrize("relation", ["twin", "", "Similar", None, 3])
def test_an_unknown_relation_is_named_beside_the_known_ones(client: httpx.Client, relation: Any) -> None:
    answer = similar(client, "item-6", relation=relation)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["path"] == "relation"
    if isinstance(relation, str):
        assert error["message"] == f"{relation!r} is no relation; known are similar, complementary"


def test_similar_obeys_the_filter(client: httpx.Client) -> None:
    rule = {"field": "studio", "op": "exists", "value": False}
    assert all(row_of(item) % 3 == 0 for item in ids(similar(client, "item-6", filter=rule)))


def facets(client: httpx.Client, query: str, **body: Any) -> dict[str, list[tuple[str, int]]]:
    answer = search(client, query, **body)
    assert answer.status_code == 200, answer.text
    found = answer.json()["facets"]
    return {name: [(each["value"], each["count"]) for each in values] for name, values in found.items()}


def test_facets_count_what_the_search_found(client: httpx.Client) -> None:
    # Item 7 is hidden; every tenth item is a classic, every third has no studio.
    westerns = [row for row in range(120) if row % 4 == 3 and row != 7]
    found = facets(client, "western", count=1, facets=["genres", "studio"])
    assert found["genres"] == [("western", len(westerns))]
    assert found["studio"] == [("north", sum(row % 3 > 0 for row in westerns))]
    assert "facets" not in search(client, "western").json()


def test_facets_obey_filters_and_stay_over_pages(client: httpx.Client) -> None:
    rule = {"field": "year", "op": "<", "value": 1990}
    first = search(client, "comedy", count=4, filter=rule, facets=["genres"])
    body = {"count": 4, "filter": rule, "facets": ["genres"]}
    second = search(client, "comedy", cursor=first.json()["next_cursor"], **body)
    counts = {each["value"]: each["count"] for each in first.json()["facets"]["genres"]}
    assert counts == {"comedy": 15, "classic": 3}
    assert second.json()["facets"] == first.json()["facets"]


def test_facets_know_live_items(client: httpx.Client) -> None:
    record = {"title": "quokka", "attributes": {"genres": ["drama", "brand new"]}}
    assert client.put("/v1/items/live-quokka", json=record).status_code == 200
    assert facets(client, "quokka", facets=["genres"])["genres"] == [("brand new", 1), ("drama", 1)]


def test_facets_of_a_recommendation(client: httpx.Client) -> None:
    assert facets(client, "", facets=["genres"])["genres"]


@pytest.mark.parametrize("name", ["year", "title", "nothing"])
def test_a_facet_that_cannot_be_counted_is_named(client: httpx.Client, name: str) -> None:
    answer = search(client, "western", facets=["genres", name])
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "facets[1]"
