from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.api.query_schemas import RecommendIn, SearchIn, SimilarIn
from service.api.requests import recommend_request, search_request, similar_request
from service.bundle import Bundle
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import Cap, Own, Request
from service.engine import Engine
from service.errors import OperatorError
from service.features.store import ItemChange
from service.placements import Placement, Placements
from service.settings import PREFIX, Settings, load_settings
from tests.support.tiny_bundle import write_tiny_bundle
from tests.support.tiny_world import NOW_MS, TASTES

WESTERN = {"field": "genres", "op": "has", "value": "western"}
NEW = {"field": "year", "op": ">=", "value": 1990}
HOME: dict[str, Any] = {
    "count": 7,
    "filter": WESTERN,
    "boost": [{"filter": NEW, "factor": 3}],
    "diversity": 0.5,
    "include_seen": True,
    "exclude_own": {"field": "studio"},
    "caps": [{"field": "studio", "most": 2, "window": 10}],
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles")))


def placements(**named: dict[str, Any]) -> Placements:
    return {name: Placement.model_validate(raw) for name, raw in named.items()}


def a_request(places: Placements, **body: Any) -> Request:
    return recommend_request(RecommendIn.model_validate(body), places)


def test_a_placement_says_what_a_call_leaves_open() -> None:
    asked = a_request(placements(home=HOME), placement="home")
    assert (asked.count, asked.diversity, asked.include_seen) == (7, 0.5, True)
    assert (asked.caps, asked.exclude_own) == ([Cap("studio", 2, 10)], Own("studio"))
    assert (asked.filter, asked.placement_filter) == (None, WESTERN)
    assert (asked.boost, asked.placement_boost) == ([], [{"filter": NEW, "factor": 3.0}])


def test_a_call_says_it_better_but_for_what_the_operator_rules_out() -> None:
    said = {"count": 20, "diversity": 0.0, "include_seen": False, "exclude_own": None, "caps": []}
    asked = a_request(placements(home=HOME), placement="home", filter=NEW, **said)
    assert (asked.count, asked.diversity, asked.include_seen) == (20, 0.0, False)
    assert (asked.caps, asked.exclude_own) == ([], None)
    assert (asked.filter, asked.placement_filter) == (NEW, WESTERN)


def test_another_placement_is_answered_by_the_defaults() -> None:
    assert a_request(placements(home=HOME), placement="never heard of") == a_request(
        {}, placement="never heard of"
    )
    assert a_request(placements(default=HOME)).count == 7


def test_search_and_similar_have_placements_too() -> None:
    places = placements(home=HOME)
    search = search_request(SearchIn(query="x", placement="home"), places)
    similar = similar_request(SimilarIn(item_id="x", placement="home"), places)
    assert [one.count for one in (search, similar)] == [7, 7]
    assert [one.placement_filter for one in (search, similar)] == [WESTERN, WESTERN]


def ask(engine: Engine, places: Placements, **body: Any) -> list[int]:
    query = engine.hydrate(a_request(places, **body), None, Moment("r", NOW_MS))
    rows: list[int] = engine.run(query).rows.tolist()
    return rows


def test_both_filters_hold_and_both_boosts_multiply(bundle: Bundle) -> None:
    places = placements(home={"filter": WESTERN, "boost": [{"filter": NEW, "factor": 2}]})
    engine = Engine.build(bundle, NullObserver(), placements=places)
    rows = ask(engine, places, placement="home", filter=NEW, count=50)
    assert rows
    assert all(TASTES[row % 4] == "western" and 1970 + row // 3 >= 1990 for row in rows)
    boosts = [{"filter": WESTERN, "factor": 5}]
    query = engine.hydrate(a_request(places, placement="home", boost=boosts), None, Moment("r", NOW_MS))
    assert query.boost is not None
    assert query.boost[[3, 63, 60]].tolist() == [5.0, 10.0, 2.0]


def test_a_placement_may_end_the_cascade_earlier_or_ask_other_sources(bundle: Bundle) -> None:
    places = placements(
        quick={"plan": {"depth": "retrieve"}}, top={"plan": {"quotas": {"popular": 1.0}}}, home=HOME
    )
    engine = Engine.build(bundle, NullObserver(), placements=places)
    engine = engine.with_changes([ItemChange("1", "item-1", {"genres": ["drama"]})], NOW_MS)
    outcomes = {
        name: engine.run(engine.hydrate(a_request(places, placement=name), None, Moment("r", NOW_MS)))
        for name in ("default", "quick", "top", "home", "unheard of")
    }
    assert "pctr" not in outcomes["quick"].columns
    assert all("pctr" in outcomes[name].columns for name in ("default", "top", "home", "unheard of"))
    assert outcomes["top"].source_names == ("popular",)
    assert outcomes["unheard of"].rows.tolist() == outcomes["default"].rows.tolist()
    assert engine.placements == {"default", "home", "quick", "top"}


@pytest.mark.parametrize(
    ("placement", "path"),
    [
        ({"filter": {"all": [{"field": "genre", "op": "has", "value": "x"}]}}, "filter.all[0].field"),
        (
            {"boost": [{"filter": {"field": "year", "op": ">", "value": "x"}, "factor": 2}]},
            "boost[0].filter.value",
        ),
        ({"caps": [{"field": "year", "most": 1}]}, "caps[0].field"),
        ({"exclude_own": {"field": "title"}}, "exclude_own.field"),
        ({"plan": {"quotas": {"magic": 1.0}}}, "plan.quotas"),
    ],
)
def test_what_does_not_fit_the_bundle_stops_the_start(
    bundle: Bundle, placement: dict[str, Any], path: str
) -> None:
    with pytest.raises(OperatorError) as refused:
        Engine.build(bundle, NullObserver(), placements=placements(home=placement))
    assert str(refused.value).startswith(f"placements.home.{path}: ")


def test_placements_are_a_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*Settings.model_fields, "config"):
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)
    (tmp_path / "cascada.toml").write_text(
        '[placements.home]\ncount = 7\nplan = {depth = "retrieve"}\n'
        '[[placements.home.caps]]\nfield = "brand"\nmost = 2\nwindow = 10\n'
    )
    home = load_settings().placements["home"]
    assert (home.count, home.plan, home.caps[0].window) == (7, {"depth": "retrieve"}, 10)
    for raw, words in {
        '{"home": {"count": 0}}': "CASCADA_PLACEMENTS.home.count: ",
        '{"home": {"cuont": 1}}': "CASCADA_PLACEMENTS.home.cuont: ",
        '{"home": {"plan": {"depht": 1}}}': "CASCADA_PLACEMENTS.home.plan: unknown plan keys",
        '{"home": {"caps": [{"field": "x", "most": 0}]}}': "CASCADA_PLACEMENTS.home.caps.0.most: ",
        '{"home": {"sponsored": {"slots": [2], "currency": "EUR"}}}': (
            "CASCADA_PLACEMENTS.home.sponsored.reserve_micros: "
        ),
        '{"home": {"sponsored": {"reserve_micros": 1, "currency": "EUR"}}}': (
            "CASCADA_PLACEMENTS.home.sponsored.slots: "
        ),
        '{"home": {"sponsored": {"slots": [], "reserve_micros": 1, "currency": "EUR"}}}': (
            "CASCADA_PLACEMENTS.home.sponsored.slots: "
        ),
    }.items():
        monkeypatch.setenv("CASCADA_PLACEMENTS", raw)
        with pytest.raises(OperatorError, match=f"^{words}"):
            load_settings()
    monkeypatch.setenv("CASCADA_PLACEMENTS", json.dumps({"home": HOME}))
    assert load_settings().placements["home"].filter == WESTERN
