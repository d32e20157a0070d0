"""In-slate Thompson sampling on simulated users: are its propensities right, what does it cost, what gain?

The model that lists knows how an interest and an item go together, and estimates a factor per item, which
stands for the popularity that nobody told it: clicks over predicted clicks, drawn towards 1 by a prior that
is fitted to the log (`models.training.posterior`). It is the model of `ranking.thompson`; the true law of
clicks is the simulator's logistic one, so that the model is only nearly right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.simulated_items import START_MS, Catalogue, draw_catalogue
from models.data.simulated_traffic import Display
from models.data.simulated_users import Population, draw_population
from models.data.truth import click_logit, sigmoid
from models.studies.off_policy import covered
from models.training.posterior import fit_counts
from ranking.off_policy import Estimate, importance, ips, snips
from ranking.thompson import compete, propensities, slate, slates

Doubles = NDArray[np.float64]
Longs = NDArray[np.int64]

SLOTS = 10
USERS, ITEMS, DAYS = 200, 300, 60
FIRST_LOG = 400
"""Requests of the log that the model is first made of; new items are not in it."""
WIDTHS = (0.5, 1.0, 2.0)
REQUESTS = (300, 3000)
"""Requests between two trainings: few, many."""


@dataclass(frozen=True)
class Listing:
    """C contexts (a user's interest each) and m items: `truth` and `base` [C, m] at the first place.

    `place` [P] is how much less a place is clicked; `share` [C] how often a context asks.
    """

    catalogue: Catalogue
    topic: Longs
    affinity: Doubles
    share: Doubles
    base: Doubles

    @classmethod
    def draw(cls, seed: int, users: int = USERS, items: int = ITEMS) -> Listing:
        """The contexts of a simulated world."""
        rng = np.random.default_rng(seed)
        catalogue = draw_catalogue(items, DAYS, rng)
        population: Population = draw_population(users, 4.0, catalogue, rng)
        user, interest = np.nonzero(population.weights > 0)
        affinity = population.vectors[user, interest].astype(np.float64) @ catalogue.vectors.T
        share = population.weights[user, interest].astype(np.float64)
        base = sigmoid(click_logit(affinity, np.zeros(items), 0)).astype(np.float64)
        return cls(catalogue, population.topic[user, interest], affinity, share / share.sum(), base)

    def chance(self, context: Longs, items: Longs) -> Doubles:
        """The true chance of a click on lists `items` [R, P] in contexts [R], place by place."""
        popularity = self.catalogue.popularity[items]
        affinity = self.affinity[context[:, None], items]
        return sigmoid(click_logit(affinity, popularity, np.arange(items.shape[1]))).astype(np.float64)

    def examined(self, context: Longs, items: Longs) -> Doubles:
        """What the model predicts of lists without factors."""
        affinity = self.affinity[context[:, None], items]
        nobody = np.zeros(items.shape)
        return sigmoid(click_logit(affinity, nobody, np.arange(items.shape[1]))).astype(np.float64)

    def ask(self, requests: int, rng: np.random.Generator) -> Longs:
        """Contexts [R] of new requests."""
        return rng.choice(len(self.share), requests, p=self.share)


@dataclass(frozen=True)
class Model:
    """Per item [m] what was clicked and what was predicted without factors, and the prior's k."""

    clicks: Doubles
    predicted: Doubles
    prior: float

    @classmethod
    def first(cls, world: Listing, rng: np.random.Generator, requests: int = FIRST_LOG) -> Model:
        """Trained on a log of the simulator's policy, which had no item that is new."""
        context = world.ask(requests, rng)
        place = np.tile(np.arange(SLOTS), requests)
        drawn, _ = Display(world.catalogue).draw(np.repeat(world.topic[context], SLOTS), rng)
        old = world.catalogue.created_ms[drawn] <= START_MS
        items = drawn.reshape(requests, SLOTS)
        chance, base = world.chance(context, items).ravel(), world.examined(context, items).ravel()
        clicked = rng.random(len(place)) < chance
        size = len(world.catalogue.topic)
        clicks = np.bincount(drawn[old], clicked[old], size).astype(np.float64)
        predicted = np.bincount(drawn[old], base[old], size).astype(np.float64)
        # The level is part of the model: only what strays from it is a factor.
        predicted *= clicks.sum() / predicted.sum()
        seen = predicted > 0
        prior = fit_counts(clicks[seen], predicted[seen], np.zeros(int(seen.sum()))).prior
        return cls(clicks, predicted, prior)

    @property
    def factor(self) -> Doubles:
        """The posterior mean of each item's factor."""
        return (self.prior + self.clicks) / (self.prior + self.predicted)

    @property
    def shape(self) -> Doubles:
        """k of each item's posterior."""
        return self.prior + self.clicks

    def lists(self, world: Listing, context: Longs, width: float, rng: np.random.Generator) -> Longs:
        """Lists [R, SLOTS]: by the posterior mean for width 0, else by in-slate Thompson sampling."""
        scores = (world.base[context] * self.factor).astype(np.float32)
        if width == 0:
            return np.argsort(-scores, axis=1, kind="stable")[:, :SLOTS]
        shape = self.shape / width**2
        lists = np.empty((len(context), SLOTS), np.int64)
        for row, each in enumerate(scores):
            able = compete(each, shape, SLOTS)
            lists[row] = able[slate(each[able], shape[able], SLOTS, rng)]
        return lists

    def after(self, world: Listing, context: Longs, lists: Longs, clicked: NDArray[np.bool_]) -> Model:
        """Trained on these lists, too."""
        size = len(self.clicks)
        return Model(
            self.clicks + np.bincount(lists.ravel(), clicked.ravel().astype(np.float64), size),
            self.predicted + np.bincount(lists.ravel(), world.examined(context, lists).ravel(), size),
            self.prior,
        )


def cost_and_gain(
    seed: int, worlds: int = 30, requests: int = REQUESTS[0], users: int = USERS, items: int = ITEMS
) -> dict[str, Any]:
    """What exploring costs while it is done, and what the next training makes of it, beside no exploring.

    All arms begin with the same model, list for the same requests, and are trained on what their own lists
    had; the clicks are drawn from the same random numbers. Then all list greedily. Means over worlds of
    differences to the greedy arm, each with its standard error.
    """
    arms: dict[float, list[dict[str, float]]] = {width: [] for width in (0.0, *WIDTHS)}
    for number in range(worlds):
        world = Listing.draw(seed * 1000 + number, users, items)
        rng = np.random.default_rng((seed, number))
        model = Model.first(world, rng)
        context, luck = world.ask(requests, rng), rng.random((requests, SLOTS))
        later = world.ask(requests, rng)
        for width, found in arms.items():
            lists = model.lists(world, context, width, np.random.default_rng((seed, number, 1)))
            chance = world.chance(context, lists)
            trained = model.after(world, context, lists, luck < chance)
            after = trained.lists(world, later, 0.0, rng)
            found.append(
                {
                    "NDCG@10 while exploring": ndcg(world, context, lists),
                    "clicks per list while exploring": float(chance.sum(axis=1).mean()),
                    "NDCG@10 after training": ndcg(world, later, after),
                    "clicks per list after training": float(world.chance(later, after).sum(axis=1).mean()),
                    "new items known": known(world, trained),
                }
            )
    greedy = arms[0.0]
    return {
        "worlds": worlds,
        "requests": requests,
        "greedy": {name: float(np.mean([each[name] for each in greedy])) for name in greedy[0]},
        "widths": {
            f"{width:g}": {name: _paired(arms[width], greedy, name) for name in greedy[0]} for width in WIDTHS
        },
    }


def ndcg(world: Listing, context: Longs, lists: Longs) -> float:
    """Mean NDCG@10 whose gain is the true chance of a click at the first place."""
    truth = sigmoid(click_logit(world.affinity, world.catalogue.popularity, 0)).astype(np.float64)
    discount = 1 / np.log2(np.arange(2, SLOTS + 2))
    ideal = -np.sort(-truth, axis=1)[:, :SLOTS] @ discount
    return float((truth[context[:, None], lists] @ discount / ideal[context]).mean())


def known(world: Listing, model: Model) -> float:
    """The share of new items of which at least one click was predicted: something is known of them."""
    new = world.catalogue.created_ms > START_MS
    return float((model.predicted[new] >= 1).mean())


def _paired(arm: list[dict[str, float]], greedy: list[dict[str, float]], name: str) -> Mapping[str, float]:
    off = np.array([one[name] - other[name] for one, other in zip(arm, greedy, strict=True)])
    return {"difference": float(off.mean()), "error": float(off.std(ddof=1) / np.sqrt(len(off)))}


def coverage(
    seed: int,
    redraws: int = 60,
    requests: int = 300,
    contexts: int = 12,
    size: int = 5,
    logged: float = 1.5,
    target: float = 0.75,
) -> dict[str, Any]:
    """Intervals from lists of our own with estimated propensities: how often they hold the true value.

    A few contexts ask again and again. The logged lists are of one width, the target's of another; the
    target's chance of each item at each place, and its true value, come from 20 times as many samples.
    """
    world = Listing.draw(seed, users=60, items=100)
    rng = np.random.default_rng((seed, 7))
    model = Model.first(world, rng)
    chosen = rng.choice(len(world.share), contexts, replace=False, p=world.share)
    games = [_Game.of(world, model, int(context), size, logged, target, rng) for context in chosen]
    truth = float(np.mean([game.value for game in games]))
    found: dict[str, list[Estimate]] = {"IPS": [], "SNIPS": []}
    for _ in range(redraws):
        asked = rng.integers(0, contexts, requests)
        drawn = [games[game].shown(rng) for game in asked.tolist()]
        clicked = np.concatenate([rng.random(size) < each.chance for each in drawn])
        weights = importance(
            np.concatenate([each.target for each in drawn]), np.concatenate([each.logged for each in drawn])
        )
        group = np.repeat(np.arange(requests), size)
        found["IPS"].append(ips(clicked, weights, group))
        found["SNIPS"].append(snips(clicked, weights, group))
    return {"redraws": redraws, "places": requests * size, **covered(found, truth)}


@dataclass(frozen=True)
class _Shown:
    """One list [n]: its items' true chances, their chances at their places under the target, as logged."""

    chance: Doubles
    target: Doubles
    logged: Doubles


@dataclass(frozen=True)
class _Game:
    """One context: what competes, and what the target does."""

    scores: NDArray[np.float32]
    shape: Doubles
    size: int
    target: Doubles
    """[N, n] the chance of each item at each place."""
    truth: Doubles
    """[N, n] the chance of a click there."""

    @classmethod
    def of(
        cls,
        world: Listing,
        model: Model,
        context: int,
        size: int,
        logged: float,
        target: float,
        rng: np.random.Generator,
    ) -> _Game:
        scores = (world.base[context] * model.factor).astype(np.float32)
        able = compete(scores, model.shape / logged**2, size)
        narrow = model.shape[able] / target**2
        many = np.concatenate([slates(scores[able], narrow, size, rng) for _ in range(20)])
        chance = np.stack([np.bincount(column, minlength=len(able)) for column in many.T], axis=1) / len(many)
        where = np.full(len(able), context)
        truth = np.stack(
            [
                sigmoid(click_logit(world.affinity[where, able], world.catalogue.popularity[able], place))
                for place in range(size)
            ],
            axis=1,
        ).astype(np.float64)
        return cls(scores[able], model.shape[able] / logged**2, size, chance, truth)

    @property
    def value(self) -> float:
        """The target's true clicks per place."""
        return float((self.target * self.truth).sum() / self.size)

    def shown(self, rng: np.random.Generator) -> _Shown:
        """A list as it would be served, with the propensities that would be logged."""
        items = slate(self.scores, self.shape, self.size, rng)
        logged = propensities(items, slates(self.scores, self.shape, self.size, rng))
        place = np.arange(self.size)
        return _Shown(self.truth[items, place], self.target[items, place], logged.astype(np.float64))
