"""What the ranker is given to choose from, and the plan that says how: quotas, order of the cut, widths."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.plan import Plan
from models.training.config import TrainConfig
from models.training.cut import cut_anew, learn_cut
from models.training.encoders import Encoders
from models.training.features import Features
from models.training.funnel import Funnel, Pool, snapshot_of
from models.training.ground import Ground, thinned
from models.training.preranker import PreRankerModel
from models.training.quotas import GRID, best_quotas, recall_of, union
from models.training.tables import Space, Tables
from models.training.timeline import Requests
from models.training.tower import Towers
from retrieval.pairs import PairScorer

UNIFORM = 32
"""Random items per request, scored by the funnel, that the ranker's uniform negatives are drawn from."""
QUOTA_REQUESTS = 1000
"""Validation requests on which quotas are chosen at most."""
KEEP = 0.92
"""The pre-ranker's width is the least that keeps this share of retrieval's recall (our choice)."""
WIDTHS = (50, 100, 150, 200, 250, 300, 350, 400, 450, 500)


@dataclass(frozen=True)
class Candidates:
    """For the ranker's own requests, that the funnel `before` found, and validation's; `known` is that funnel
    as it stands after the training events."""

    funnels: Funnels
    before: Funnel
    known: Funnel
    pools: list[Pool]
    uniform: NDArray[np.int32]
    """[R, U] random items of the ranker's requests."""
    uniform_cross: NDArray[np.float32]
    """[R, U, X]."""
    held_out: list[Pool]
    union_recall: float
    """Of validation's targets, what the union under the chosen quotas holds."""

    @property
    def plan(self) -> Plan:
        """With everything that was chosen here."""
        return self.funnels.plan

    @classmethod
    def of(cls, ground: Ground, encoders: Encoders, judges: Encoders) -> Candidates:
        """Choose by validation what the configuration leaves open, and find the candidates so.

        Those of validation by the `judges`: the `encoders`, or what is learned anew before validation.
        """
        config, own, validation = ground.config, ground.own, ground.validation
        funnels = Funnels(
            ground.features,
            encoders.towers,
            encoders.preranker,
            encoders.space,
            sized(config, ground.dataset.items),
            config,
        )
        before = funnels.after(ground.early)
        before.scorer = before.learn_pairs(own, config.seed)
        funnels = replace(funnels, scorer=before.scorer)
        known = funnels.after(ground.split.train)
        judging = funnels.through(judges).after(ground.split.train, known.tables)
        plan, union_recall = balanced(config, funnels.plan, judging, validation)
        before, known, judging = (each.under(plan.quotas) for each in (before, known, judging))
        random = np.random.default_rng(config.seed)
        uniform = random.integers(0, ground.dataset.items, (len(own), UNIFORM)).astype(np.int32)
        pools, uniform_cross = before.pools_and(own, uniform, "candidates, training")
        held_out = judging.pools(validation, "candidates, validation")
        if "cut" not in config.plan:
            plan = replace(plan, cut=learn_cut(own, pools, validation, held_out, plan.ranked))
            pools, held_out = cut_anew(own, pools, plan.cut), cut_anew(validation, held_out, plan.cut)
        plan = replace(plan, ranked=choose_width(config, plan, held_out))
        funnels = replace(funnels, plan=plan)
        return cls(funnels, before, known, pools, uniform, uniform_cross, held_out, union_recall)


def sized(config: TrainConfig, items: int) -> Plan:
    """The plan; without an override, a small catalogue is narrowed: 35% of its items are candidates."""
    plan = config.base_plan()
    if "candidates" not in config.plan:
        plan = replace(plan, candidates=int(min(plan.candidates, max(100, 0.35 * items))))
    return replace(plan, ranked=min(plan.ranked, plan.candidates))


def balanced(config: TrainConfig, plan: Plan, funnel: Funnel, validation: Requests) -> tuple[Plan, float]:
    """The plan with the quotas whose union finds most, and its recall; an override of the quotas wins.

    Sources that past requests cannot be asked of, such as trending items, keep their share.
    """
    asked = thinned(validation, QUOTA_REQUESTS)
    wide = {name: plan.quotas.get(name, 0.0) if "quotas" in config.plan else 1.0 for name in GRID}
    lists = funnel.under(wide).proposals(asked, "sources, validation")
    wanted = asked.target[:, None]
    if "quotas" in config.plan:
        return plan, float(
            recall_of(union(lists, plan.quotas, plan.candidates), wanted, plan.candidates).mean()
        )
    quotas, found = best_quotas(lists, wanted, plan.candidates)
    return replace(plan, quotas={**plan.quotas, **quotas}), found


def choose_width(config: TrainConfig, plan: Plan, pools: list[Pool]) -> int:
    """The least of `WIDTHS` whose recall is at least `KEEP` of retrieval's; an override wins."""
    if "ranked" in config.plan:
        return plan.ranked
    found = share_found(pools)
    able = [width for width in WIDTHS if width <= plan.candidates]
    return next(
        (width for width in able if share_found(pools, width) >= KEEP * found),
        (able or [plan.candidates])[-1],
    )


@dataclass(frozen=True)
class Funnels:
    """The same models over what was counted up to different moments."""

    features: Features
    towers: Towers
    preranker: PreRankerModel
    space: Space
    plan: Plan
    config: TrainConfig
    scorer: PairScorer | None = None

    def through(self, encoders: Encoders) -> Funnels:
        """The same with other encoders."""
        towers, preranker, space = encoders.towers, encoders.preranker, encoders.space
        return replace(self, towers=towers, preranker=preranker, space=space)

    def after(self, events: NDArray[np.int64], tables: Tables | None = None) -> Funnel:
        """The funnel as it stands after `events`; `tables`, if they were counted before."""
        retrieval = self.config.retrieval
        snapshot = snapshot_of(
            self.features,
            self.towers,
            self.space,
            events,
            self.plan,
            retrieval.snapshot_clusters,
            retrieval.snapshot_users,
            self.config.seed,
        )
        config = self.config
        tables = tables or Tables.of(self.features.dataset, events, retrieval, config.seed, config.threads)
        return Funnel(
            self.features,
            self.towers,
            self.preranker,
            self.space,
            tables,
            snapshot,
            self.plan,
            self.scorer,
        )


def share_found(pools: list[Pool], width: float = math.inf) -> float:
    """Of the targets, the share among the first `width` candidates; 0 without requests."""
    return float(np.mean([0 <= pool.place < width for pool in pools])) if pools else 0.0
