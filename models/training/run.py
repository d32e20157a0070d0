"""One training run: every stage in order, from a data set to all that a bundle is made of."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.data.columns import Dataset
from models.data.splits import Split
from models.data.vocabulary import build_schema
from models.plan import Plan
from models.schema import Schema
from models.training.calibrate import fit_calibrator, labelled
from models.training.complements import learn_complements
from models.training.config import SplitConfig, TrainConfig
from models.training.cut import cut_anew, learn_cut
from models.training.distil import Asked, agreement, distil, reordered
from models.training.features import Features
from models.training.funnel import Funnel, Pool, snapshot_of
from models.training.names import check_names
from models.training.posterior import fit_posterior
from models.training.preranker import PreRankerModel, interest_cosine, train_preranker
from models.training.query import train_query, usable
from models.training.query_model import QueryModel, text_model
from models.training.quotas import GRID, best_quotas, recall_of, union
from models.training.ranker import RankerData, RankerModel, funnel_ndcg, train_ranker
from models.training.sponsored import Levels, check_samples, train_on_impressions
from models.training.tables import Space, Tables, decayed_popularity
from models.training.timeline import Requests, Timeline, newest_per_user
from models.training.tower import Towers, train_towers
from ranking.calibration import Calibration
from ranking.thompson import Posterior
from retrieval.complements import Complements
from retrieval.index import IndexSettings
from retrieval.metrics import auc, copc, ece, gauc, log_loss
from retrieval.pairs import PairScorer
from retrieval.snapshot import Snapshot

UNIFORM = 32
"""Random items per request, scored by the funnel, that the ranker's uniform negatives are drawn from."""
VALIDATION_REQUESTS = 3000
QUOTA_REQUESTS = 1000
"""Validation requests on which quotas are chosen at most."""
LEAST_REQUESTS = 2
"""Fewer cannot be trained on, nor can a calibrator be chosen on them."""
KEEP = 0.92
"""The pre-ranker's width is the least that keeps this share of retrieval's recall (our choice)."""
WIDTHS = (50, 100, 150, 200, 250, 300, 350, 400, 450, 500)


@dataclass(frozen=True)
class Trained:
    """Everything that a bundle is made of, over m items."""

    config: TrainConfig
    dataset: Dataset
    schema: Schema
    plan: Plan
    towers: Towers
    preranker: PreRankerModel
    ranker: RankerModel
    calibrator: Calibration
    space: Space
    tables: Tables
    snapshot: Snapshot
    query: QueryModel
    metrics: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    scorer: PairScorer | None = None
    complements: Complements | None = None
    posterior: Posterior | None = None


def train(dataset: Dataset, config: TrainConfig) -> Trained:
    """Train all stages. The events of the test period are never read.

    Raises:
        ConfigError: the configuration names something that does not exist.
        ValueError: the data set is too small for the protocol.
    """
    check_names(config)
    check_samples(config)
    encoder = text_model(config.query, config.threads)
    deterministic(config.threads, config.seed)
    seconds: dict[str, float] = {}
    split, early, late = cut(dataset, config.split)
    schema = build_schema(dataset, split.train, history_length=config.history_length)
    features = Features.of(dataset, schema)
    timeline = features.timeline
    validation = thinned(timeline.requests(split.validation), VALIDATION_REQUESTS)

    with timed(seconds, "towers"):
        towers = train_towers(features, early, validation, config.tower, config.seed)
    with timed(seconds, "preranker"):
        preranker = train_preranker(features, early, validation, towers.items, config.preranker, config.seed)
    plan = sized(config, dataset.items)
    with timed(seconds, "query"):
        asked = usable(dataset, split, config.split.protocol)
        query = train_query(dataset, asked, towers.item_vectors(), config.query, config.seed, encoder)
    with timed(seconds, "retrieval"):
        space = Space.of(
            towers.item_vectors(), config.retrieval, config.seed, config.threads, dataset.item_ids
        )
        funnels = Funnels(features, towers, preranker, space, plan, config)
        before = funnels.after(early)
        own = thinned(timeline.requests(late), config.ranker.requests)
        funnels = replace(funnels, scorer=before.learn_pairs(own, config.seed))
        before.scorer = funnels.scorer
        known = funnels.after(split.train)
        plan, union_recall = balanced(config, plan, known, validation)
        funnels = replace(funnels, plan=plan)
        before, known = before.under(plan.quotas), known.under(plan.quotas)
        pools = before.pools(own, "candidates, training")
        random = np.random.default_rng(config.seed)
        uniform = random.integers(0, dataset.items, (len(own), UNIFORM)).astype(np.int32)
        uniform_cross = before.cross_of(own, uniform)
        held_out = known.pools(validation, "candidates, validation")
        if "cut" not in config.plan:
            plan = replace(plan, cut=learn_cut(own, pools, validation, held_out, plan.ranked))
            pools, held_out = cut_anew(own, pools, plan.cut), cut_anew(validation, held_out, plan.cut)
    plan = replace(plan, ranked=choose_width(config, plan, held_out))
    with timed(seconds, "ranker"):
        levels: Levels | None = None
        if config.ranker.samples == "impressions":
            ranker, levels = train_on_impressions(features, before, known, late, split, config)
        else:
            older = timeline.requests(early)
            data = RankerData(own, pools, uniform, uniform_cross, older, validation, held_out)
            data = data.within(plan.ranked)
            query_size = config.tower.dim + 1
            ranker = train_ranker(features, data, plan.ranked, config.ranker, config.seed, query_size)
    with timed(seconds, "distillation"):
        judged = Asked(validation, held_out)
        taught = distil(
            features,
            preranker,
            ranker,
            Asked(own, pools),
            judged,
            plan.ranked,
            config.preranker,
            config.seed,
            plan.cut,
        )
        if taught is not preranker:
            preranker, judged = taught, reordered(features, taught, judged, plan.cut)
        held_out = judged.pools
        survived, _ = agreement(features, ranker, judged, plan.ranked)
    with timed(seconds, "calibration"):
        logits = ranker.logits(features.batch(validation), held_out, plan.ranked)
        levels = levels or Levels(logits, held_out, validation.placement, validation.now_ms)
        names = [dataset.placements[place] for place in levels.placement]
        calibrator, tried = fit_calibrator(
            config.calibration, levels.logits, levels.pools, levels.now_ms, names
        )
        counted = decayed_popularity(dataset, split.train)
        posterior = fit_posterior(calibrator, levels.logits, levels.pools, levels.placement, counted)
    final = funnels.after(split.train_and_validation)
    with timed(seconds, "complements"):
        settings = IndexSettings(config.retrieval.index)
        complements = learn_complements(
            dataset, split.train_and_validation, config.complements, settings, config.seed, config.threads
        )
    metrics = {
        "validation": {
            "requests": len(validation),
            "tower_ndcg@10": towers.best,
            "preranker_ndcg@10": preranker.best,
            "interest_cosine": float(interest_cosine(preranker.interests(features.batch(validation))).mean()),
            "funnel_recall": float(survived.mean()),
            "final_ndcg@10": funnel_ndcg(logits, held_out),
            "recall_at_quotas": union_recall,
            **_judge_funnel(held_out, plan),
            **_judge_ranker(levels.logits, levels.pools, calibrator),
            "calibration_log_loss": {kind: one.log_loss for kind, one in tried.items()},
            "calibration_ece": {kind: one.ece for kind, one in tried.items()},
        }
    }
    return Trained(
        config,
        dataset,
        schema,
        replace(plan, calibration=calibrator.kind),
        towers,
        preranker,
        ranker,
        calibrator,
        space,
        final.tables,
        final.snapshot,
        query,
        metrics,
        seconds,
        funnels.scorer,
        complements,
        posterior,
    )


def deterministic(threads: int, seed: int) -> None:
    """Let torch use so many threads, and give the same numbers each time."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory before writing it, and the fill costs a tenth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(seed)


def cut(dataset: Dataset, config: SplitConfig) -> tuple[Split, NDArray[np.int64], NDArray[np.int64]]:
    """The split, and its training events once more cut: early for the first stages, late for the ranker.

    Late is the newest share of all training events under global-time, else the newest few of each user. Of a
    data set without order that is whatever stands last: a random choice where, as the loaders do, the rows of
    each user were shuffled.

    Raises:
        ValueError: the data set does not fit the protocol, or too few events of a part are with items that
            are new to their users.
    """
    timeline, split = Timeline(dataset), config.apply(dataset)
    if config.protocol == "global-time":
        late = np.arange(round(len(split.train) * (1 - config.ranker_share)), len(split.train))
    else:
        late = newest_per_user(timeline, split.train, config.ranker_events)
    early = np.delete(split.train, late)
    parts = {"training": early, "ranker": late, "validation": split.validation}
    for name, part in parts.items():
        if (count := len(timeline.requests(part))) < LEAST_REQUESTS:
            raise ValueError(
                f"{dataset.name}: {config.protocol} leaves {count} {name} events with items that are new to "
                f"their users, {LEAST_REQUESTS} are needed; the data set is too small"
            )
    return split, early, split.train[late]


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
    found = _share(pools)
    able = [width for width in WIDTHS if width <= plan.candidates]
    return next(
        (width for width in able if _share(pools, width) >= KEEP * found), (able or [plan.candidates])[-1]
    )


def thinned(requests: Requests, at_most: int) -> Requests:
    """At most so many requests, evenly spread."""
    if len(requests) <= at_most:
        return requests
    return requests.at(np.linspace(0, len(requests) - 1, at_most).astype(np.int64))


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Record the wall time of a block."""
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 1)


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

    def after(self, events: NDArray[np.int64]) -> Funnel:
        """The funnel as it stands after `events`."""
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
        tables = Tables.of(self.features.dataset, events, retrieval, config.seed, config.threads)
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


def _share(pools: list[Pool], width: float = math.inf) -> float:
    return float(np.mean([0 <= pool.place < width for pool in pools])) if pools else 0.0


def _judge_funnel(pools: list[Pool], plan: Plan) -> dict[str, float]:
    as_preranked = [-np.arange(len(pool.rows[: plan.ranked]), dtype=np.float32) for pool in pools]
    return {
        "recall_retrieved": _share(pools),
        "recall_preranked": _share(pools, plan.ranked),
        "preranked_ndcg@10": funnel_ndcg(as_preranked, pools),
    }


def _judge_ranker(logits: list[Any], pools: list[Pool], calibrator: Calibration) -> dict[str, float]:
    values, labels, request = labelled(logits, pools)
    probability = calibrator(values)
    found = {
        "auc": auc(labels, values),
        "gauc": gauc(labels, values, request.astype(np.int32)),
        "log_loss": log_loss(labels, probability),
        "ece": ece(labels, probability),
        "copc": copc(labels, probability),
    }
    # Requests with one candidate have no AUC of their own.
    return {name: value for name, value in found.items() if not math.isnan(value)}
