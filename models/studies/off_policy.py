"""What logs say of other policies: values with intervals, and how often these hold the truth.

A target policy is a table [C, m]: the chance of each item at a place, in each of C contexts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.columns import Dataset, Impressions
from models.data.open_bandit import CAMPAIGNS, BanditLog, read_open_bandit
from models.data.simulated_items import START_MS, Catalogue, draw_catalogue
from models.data.simulated_traffic import SLOTS, Display, Requests, draw_requests, show
from models.data.simulated_users import Population, draw_population
from models.data.truth import click_logit, sigmoid
from ranking.off_policy import Estimate, doubly_robust, folds, importance, ips, logged_value, snips

Doubles = NDArray[np.float64]
Longs = NDArray[np.int64]

ESTIMATORS = ("IPS", "SNIPS", "DR")
LEVELS = (0.5, 0.95)
SHRINK = 10.0
"""The click model trusts an item's own rate like this many expected clicks (our choice)."""
USERS, ITEMS, DAYS, SESSIONS = 300, 100, 30, 4.0


@dataclass(frozen=True, slots=True)
class Log:
    """n places: what was shown, in which context, how probable it was, and whether it was clicked."""

    item: Longs
    place: Longs
    context: Longs
    group: Longs
    propensity: Doubles
    clicked: NDArray[np.bool_]
    items: int
    shown: NDArray[np.bool_] | None = None
    """Whether the place was filled; None = each was."""

    def at(self, index: NDArray[Any]) -> Log:
        """The places at `index`."""
        return Log(
            item=self.item[index],
            place=self.place[index],
            context=self.context[index],
            group=self.group[index],
            propensity=self.propensity[index],
            clicked=self.clicked[index],
            items=self.items,
            shown=None if self.shown is None else self.shown[index],
        )


def click_model(log: Log) -> Doubles:
    """A click's chance [m, P]: the rate of the place times how much more an item is clicked than its places.

    A model of a few numbers, good enough to take some variance away; doubly robust values do not rely on it.
    """
    if log.shown is not None:
        log = replace(log.at(log.shown), shown=None)
    places = int(log.place.max()) + 1
    rate = np.bincount(log.place, log.clicked, places) / np.maximum(
        np.bincount(log.place, minlength=places), 1
    )
    clicks = np.bincount(log.item, log.clicked, log.items)
    expected = np.bincount(log.item, rate[log.place], log.items)
    factor = (clicks + SHRINK) / (expected + SHRINK)
    return np.asarray(np.outer(factor, rate), np.float64)


def values(log: Log, target: Doubles, seed: int) -> dict[str, Estimate]:
    """The target's clicks per place by each of `ESTIMATORS`."""
    weights = importance(target[log.context, log.item], log.propensity)
    if log.shown is not None:
        weights = weights * log.shown
    predicted, expected = np.zeros(len(log.item)), np.zeros(len(log.item))
    fold = folds(log.group, seed)
    for each in range(2):
        model = click_model(log.at(fold != each))
        mine = fold == each
        # A place that the other fold never had is predicted like the last one that it had.
        place = np.minimum(log.place[mine], model.shape[1] - 1)
        predicted[mine] = model[log.item[mine], place]
        expected[mine] = (target @ model)[log.context[mine], place]
    return {
        "IPS": ips(log.clicked, weights, log.group),
        "SNIPS": snips(log.clicked, weights, log.group),
        "DR": doubly_robust(log.clicked, weights, predicted, expected, log.group),
    }


def of_impressions(shown: Impressions, items: int) -> Log:
    """The log of a data set, one context. A place that a request lacks is one where nothing was shown.

    Raises:
        ValueError: something was logged without a propensity.
    """
    if not (np.isfinite(shown.propensity) & (shown.propensity > 0)).all():
        raise ValueError("impressions without a propensity say nothing of other policies")
    _, request = np.unique(shown.request, return_inverse=True)
    places = int(shown.position.max()) + 1
    size = (int(request.max()) + 1) * places
    cell = request * places + shown.position

    def spread(values: NDArray[Any], empty: Any) -> NDArray[Any]:
        column = np.full(size, empty)
        column[cell] = values
        return column

    return Log(
        item=spread(shown.item.astype(np.int64), 0),
        place=np.tile(np.arange(places), size // places),
        context=np.zeros(size, np.int64),
        group=np.repeat(np.arange(size // places), places),
        propensity=spread(shown.propensity.astype(np.float64), 1.0),
        clicked=spread(shown.clicked, False),
        items=items,
        shown=spread(np.ones(len(shown), bool), False),
    )


def of_dataset(dataset: Dataset, seed: int) -> dict[str, Any]:
    """Two policies without contexts, judged on the newer half of the log, over items that are older than it.

    `uniform` shows all of them alike, `by clicks` an item as often as the older half clicked it, plus once.

    Raises:
        ValueError: there are no impressions, or some without a propensity.
    """
    shown = dataset.impressions
    if shown is None or not len(shown):
        raise ValueError(
            f"{dataset.name}: the off-policy study wants a table of impressions with propensities"
        )
    half = shown.request >= shown.request[len(shown) // 2]
    log = of_impressions(_part(shown, half), dataset.items)
    there = dataset.item_created_ms <= shown.time_ms[half].min()
    clicks = np.bincount(shown.item[~half], shown.clicked[~half], dataset.items) + 1.0
    targets = {"uniform": there / there.sum(), "by clicks": clicks * there / (clicks * there).sum()}
    return {
        "places": len(log.item),
        "logged": _told(logged_value(log.clicked, log.group)),
        "policies": {
            name: {e: _told(found) for e, found in values(log, target[None], seed).items()}
            for name, target in targets.items()
        },
    }


def _part(shown: Impressions, index: NDArray[np.bool_]) -> Impressions:
    """Some of the impressions."""
    columns = ("request", "user", "item", "position", "time_ms", "clicked", "propensity", "bid_micros")
    parts: dict[str, Any] = {name: getattr(shown, name)[index] for name in (*columns, "market_price_micros")}
    return replace(shown, placement=None, **parts)


def of_open_bandit(source: Path, seed: int) -> dict[str, Any]:
    """What the logs of Thompson sampling say of the uniform policy, beside what that policy really had.

    Raises:
        DataError: the logs cannot be read.
    """
    found = {}
    for campaign in CAMPAIGNS:
        random, thompson = (
            _bandit(read_open_bandit(source, policy, campaign)) for policy in ("random", "bts")
        )
        truth = logged_value(random.clicked, random.group)
        uniform = np.full((1, random.items), 1 / random.items)
        estimates = values(thompson, uniform, seed)
        found[campaign] = {
            "places": len(thompson.item),
            "uniform, as logged": _told(truth),
            "bts, as logged": _told(logged_value(thompson.clicked, thompson.group)),
            "estimates": {name: _told(each) | {"z": _apart(each, truth)} for name, each in estimates.items()},
        }
    return found


def _bandit(log: BanditLog) -> Log:
    count = len(log.item)
    zeros = np.zeros(count, np.int64)
    return Log(log.item, log.place, zeros, np.arange(count), log.propensity, log.clicked, log.items)


def _apart(one: Estimate, other: Estimate) -> float:
    """How many standard errors of their difference two independent values are apart."""
    return (one.value - other.value) / float(np.hypot(one.standard_error, other.standard_error))


@dataclass(frozen=True)
class World:
    """A simulated catalogue whose items are all there from the start; users and traffic can be drawn anew."""

    catalogue: Catalogue
    users: int

    @classmethod
    def draw(cls, seed: int, users: int = USERS, items: int = ITEMS) -> World:
        """The world of a seed."""
        catalogue = draw_catalogue(items, DAYS, np.random.default_rng(seed))
        return cls(replace(catalogue, created_ms=np.minimum(catalogue.created_ms, START_MS)), users)

    def log(self, rng: np.random.Generator) -> Traffic:
        """New users and what the simulator's logging policy showed them; the context is the active topic."""
        population = draw_population(self.users, SESSIONS, self.catalogue, rng)
        requests = draw_requests(population, DAYS, rng)
        shown = show(requests, Display(self.catalogue), self.catalogue, population, rng)
        topic = population.topic[requests.user, requests.interest]
        log = Log(
            item=shown.item,
            place=shown.position,
            context=topic[shown.request],
            group=requests.user[shown.request],
            propensity=shown.propensity.astype(np.float64),
            clicked=shown.clicked,
            items=len(self.catalogue.topic),
        )
        return Traffic(population, requests, log)

    def targets(self) -> dict[str, Doubles]:
        """`uniform`, and `own topic`: 9 in 10 places go to the active topic by popularity, others to all."""
        items, topics = len(self.catalogue.topic), len(self.catalogue.topics)
        uniform = np.full((topics, items), 1 / items)
        mine = self.catalogue.topic[None] == np.arange(topics)[:, None]
        own = mine * np.exp(self.catalogue.popularity.astype(np.float64))
        return {"uniform": uniform, "own topic": 0.9 * own / own.sum(axis=1, keepdims=True) + 0.1 * uniform}

    def truths(self, traffic: Traffic, targets: Mapping[str, Doubles]) -> dict[str, float]:
        """What each target's clicks per place are for these requests, by the law of clicks."""
        population, asked = traffic.population, traffic.requests
        pairs, count = np.unique(np.stack([asked.user, asked.interest]), axis=1, return_counts=True)
        affinity = population.vectors[pairs[0], pairs[1]] @ self.catalogue.vectors.T
        topic = population.topic[pairs[0], pairs[1]]
        mean = np.mean(
            [sigmoid(click_logit(affinity, self.catalogue.popularity, place)) for place in range(SLOTS)],
            axis=0,
        )
        return {
            name: float(np.average((target[topic] * mean).sum(axis=1), weights=count))
            for name, target in targets.items()
        }


@dataclass(frozen=True)
class Traffic:
    """Users, their requests, and the log of what these showed."""

    population: Population
    requests: Requests
    log: Log


def coverage(seed: int, redraws: int, users: int = USERS, items: int = ITEMS) -> dict[str, Any]:
    """How often intervals hold the true value, over logs of one catalogue that are drawn anew.

    The truth is the mean over all redraws of what the law of clicks gives. Users are the groups.
    """
    world = World.draw(seed, users, items)
    targets = world.targets()
    found: dict[str, dict[str, list[Estimate]]] = {name: {e: [] for e in ESTIMATORS} for name in targets}
    truths: dict[str, list[float]] = {name: [] for name in targets}
    places = 0
    for number in range(redraws):
        traffic = world.log(np.random.default_rng((seed, number)))
        places += len(traffic.log.item)
        for name, truth in world.truths(traffic, targets).items():
            truths[name].append(truth)
        for name, target in targets.items():
            for estimator, each in values(traffic.log, target, number).items():
                found[name][estimator].append(each)
    return {
        "redraws": redraws,
        "places": places / redraws,
        "policies": {name: covered(found[name], float(np.mean(truths[name]))) for name in targets},
    }


def covered(found: Mapping[str, Sequence[Estimate]], truth: float) -> dict[str, Any]:
    """The truth, and each estimator's mean, its error and how often its intervals hold the truth."""
    answer: dict[str, Any] = {"truth": truth}
    for name, estimates in found.items():
        means = np.array([each.value for each in estimates])
        answer[name] = {
            "mean": float(means.mean()),
            "spread": float(means.std(ddof=1)),
            "stated error": float(np.mean([each.standard_error for each in estimates])),
            **{f"covers {level:g}": share(estimates, truth, level) for level in LEVELS},
        }
    return answer


def share(estimates: Sequence[Estimate], truth: float, level: float) -> float:
    """The share of intervals that hold the truth."""
    return float(np.mean([each.covers(truth, level) for each in estimates]))


def _told(found: Estimate) -> dict[str, float]:
    low, high = found.interval()
    return {"value": found.value, "low": low, "high": high}
