import numpy as np
import pytest

from ranking.beta import Beta
from ranking.isotonic import Isotonic
from ranking.platt import Platt
from ranking.temperature import Temperature
from service.auction.observed import MOST, Observed, Sales
from service.auction.trust import Bounds, Calibrators, Standing, inverse, judge

BOUNDS = Bounds(tolerance=0.2, least_clicks=50, clicks=300)
OWN = Platt(1.0, -1.0)


def sold(factors, count=3000, seed=0, pctr=0.1):
    """Impressions whose pCTR is the bundle's, clicked `factor` times as often, one count per factor."""
    rng = np.random.default_rng(seed)
    factor = np.repeat(factors, count)
    chance = np.clip(rng.normal(pctr, pctr / 4, len(factor)), pctr / 5, 0.5)
    return Sales(
        chance,
        rng.integers(1, 100, len(factor)) * 1000,
        rng.random(len(factor)) < factor * chance,
        np.arange(len(factor), dtype=np.int64),
    )


def test_what_sells_as_predicted_stays():
    for seed in range(20):
        verdict = judge(Standing(), sold([1.0], seed=seed), Calibrators(OWN), BOUNDS)
        assert verdict.standing == Standing()
        assert verdict.cells[0].copc.value == pytest.approx(1.0, abs=0.25)


def test_deciles_of_the_bid_add_up_to_all():
    cells = judge(Standing(), sold([1.0]), Calibrators(OWN), BOUNDS).cells
    assert [one.decile for one in cells] == ["all", *map(str, range(1, 11))]
    assert sum(one.copc.clicks for one in cells[1:]) == cells[0].copc.clicks
    assert sum(one.copc.predicted for one in cells[1:]) == pytest.approx(cells[0].copc.predicted)


@pytest.mark.parametrize("factor", [0.4, 2.0, 3.0])
def test_another_world_is_fitted_anew(factor):
    sales = sold([factor], count=8000)
    verdict = judge(Standing(), sales, Calibrators(OWN), BOUNDS)
    assert verdict.standing.label == "refit"
    chance = Calibrators(OWN).used(verdict.standing)(inverse(OWN, sales.pctr))
    assert chance.sum() / (factor * sales.pctr.sum()) == pytest.approx(1.0, abs=0.25)
    assert judge(verdict.standing, sales, Calibrators(OWN), BOUNDS).standing.label == "refit"


def test_few_clicks_say_nothing_but_many_that_were_predicted_and_never_came_do():
    assert judge(Standing(), sold([3.0], count=60), Calibrators(OWN), BOUNDS).standing == Standing()
    verdict = judge(Standing(), sold([0.0]), Calibrators(OWN), BOUNDS)
    assert verdict.standing.label == "distrusted"


def test_the_one_before_is_preferred_to_a_new_fit_if_it_holds():
    # The bundle promises half of what its previous calibrator would have.
    logits = inverse(OWN, sold([2.0]).pctr)
    before = Platt.fit(logits, np.clip(2 * OWN(logits), 0, 1))
    verdict = judge(Standing(), sold([2.0]), Calibrators(OWN, before), BOUNDS)
    assert verdict.standing.label == "previous"
    assert (
        judge(Standing(), sold([6.0], pctr=0.05), Calibrators(OWN, before), BOUNDS).standing.label == "refit"
    )


def test_a_calibrator_that_holds_again_is_trusted_again():
    doubted = Standing(trusted=False)
    assert judge(doubted, sold([1.0]), Calibrators(OWN), BOUNDS).standing.label is None
    refit = Standing("refit", True, 0, Platt(1.0, 1.0))
    assert judge(refit, sold([1.0]), Calibrators(OWN), BOUNDS).standing.label is None


def test_a_fit_of_two_worlds_makes_way_for_a_better_one_or_for_the_bundles_own():
    mixed, late = (Standing("refit", True, 0, Platt(1.0, -1.0 + np.log(by))) for by in (1.75, 1.3))
    bounds = Bounds(0.2, 50, 600)
    doubled = judge(mixed, sold([2.0]), Calibrators(OWN), bounds)
    assert not doubled.cells[0].copc.beyond(0.2)
    assert doubled.standing.label == "refit"
    assert doubled.standing.refit != mixed.refit
    back = judge(late, sold([1.0], count=8000), Calibrators(OWN), bounds)
    assert not back.cells[0].copc.beyond(0.2)
    assert back.standing.label is None


def test_a_fit_that_its_newest_sales_contradict_is_not_used():
    # Clicks came and went: the newest third is of a world that no older part tells of.
    sales = sold([4.0, 4.0, 0.3], count=600)
    verdict = judge(Standing(), sales, Calibrators(OWN), Bounds(0.2, 30, 1000))
    if verdict.standing.label == "refit":
        recent = sales.newest(60)
        chance = Calibrators(OWN).used(verdict.standing)(inverse(OWN, recent.pctr))
        assert chance.sum() < 2 * recent.clicked.sum()


def test_a_refit_is_judged_from_its_own_world_on():
    sales = sold([1.0, 3.0], count=1500)
    refit = Standing("refit", True, 1500, Platt(1.0, -1.0 + np.log(3.4)))
    assert judge(refit, sales, Calibrators(OWN), Bounds(0.2, 50, 100_000)).standing.label == "refit"


@pytest.mark.parametrize(
    "calibrator",
    [
        Platt(0.3, -2.0),
        Beta(0.5, 2.0, -1.0),
        Temperature(3.0),
        Isotonic(np.array([-4.0, 0.0, 1.0]), np.array([-5.0, -2.0, -1.9])),
    ],
)
def test_logits_are_found_again(calibrator):
    logits = np.linspace(-6, 4, 101)
    np.testing.assert_allclose(inverse(calibrator, calibrator(logits)), logits, atol=1e-5)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"use": "oracle", "trusted": True, "since_ms": 0, "refit": None},
        {"use": "refit", "trusted": True, "since_ms": 0, "refit": None},
        {
            "use": "refit",
            "trusted": True,
            "since_ms": 0,
            "refit": {"kind": "platt", "slope": -1, "intercept": 0},
        },
        {
            "use": "refit",
            "trusted": True,
            "since_ms": 0,
            "refit": {"kind": "temperature", "temperature": float("nan")},
        },
        [],
    ],
)
def test_a_standing_that_cannot_be_is_refused(raw):
    with pytest.raises(ValueError, match=r"not a standing|no calibrator|rising curve"):
        Standing.from_json(raw)


def test_a_standing_survives_json():
    standing = Standing("refit", False, 17, Platt(0.5, -1.0))
    assert Standing.from_json(standing.to_json()) == standing


def answer(request="r", version="v", **more):
    items = [{"item": "a", "bid_micros": 5, "advertiser": "x", "currency": "EUR", "price_micros": 3}]
    return {
        "request_id": request,
        "bundle_version": version,
        "placement": "shop",
        "timestamp": 10,
        "items": ["z", "a"],
        "pctr": [0.5, 0.25],
        "sponsored": items,
        **more,
    }


def page(*entries):
    import orjson

    return [
        (f"{number}-0", one if isinstance(one, bytes) else orjson.dumps(one))
        for number, one in enumerate(entries)
    ]


def test_a_click_counts_once_whatever_comes_first():
    observed = Observed("v", "click")
    click = {"event": "click", "request_id": "r", "item_id": "a", "timestamp": 12}
    observed.add_events(page(click, click))
    observed.add_answers(page(answer(), answer("other"), answer("r")))
    sales = observed.sales(0, 100)["shop"]
    assert sorted(zip(sales.pctr.tolist(), sales.clicked.tolist(), strict=True)) == [
        (0.25, False),
        (0.25, True),
    ]
    assert observed.sales(11, 100) == {}


def test_what_is_of_another_bundle_or_cannot_be_read_is_passed_over():
    observed = Observed("v", "click")
    observed.add_answers(
        page(
            answer(version="w"),
            answer("null", pctr=[None, None]),
            answer("short", pctr=[0.1]),
            answer("none", pctr=None),
            b'{"sponsored": [',
            b'["sponsored"]',
            {k: v for k, v in answer("plain").items() if k != "sponsored"},
        )
    )
    observed.add_events(
        page({"event": "view", "request_id": "r", "item_id": "a"}, b'"request_id"', {"event": "click"})
    )
    assert observed.sales(0, 100) == {}


def test_what_is_remembered_is_bounded():
    observed = Observed("v", "click")
    for start in range(0, MOST + 2000, 1000):
        observed.add_answers(page(*(answer(f"r{n}", timestamp=n) for n in range(start, start + 1000))))
    sales = observed.sales(0, 10**9)["shop"]
    assert len(sales) == MOST
    assert sales.time_ms[0] == 2000
