"""One training run: every stage in order, from a data set to all that a bundle is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from models.data.columns import Dataset
from models.plan import Plan
from models.schema import Schema
from models.training.calibrate import fit_calibrator, labelled
from models.training.candidates import Candidates, share_found
from models.training.complements import learn_complements
from models.training.config import TrainConfig
from models.training.distil import Asked, agreement, distil, reordered
from models.training.encoders import Encoders, turn
from models.training.funnel import Pool
from models.training.gains import funnel_ndcg
from models.training.ground import Ground, deterministic
from models.training.names import check_names
from models.training.posterior import fit_posterior
from models.training.preranker import PreRankerModel, interest_cosine
from models.training.query_model import text_model
from models.training.ranges import Ranges
from models.training.ranker import RankerData, RankerModel, train_ranker
from models.training.ranker_searches import learn_searches
from models.training.ranker_start import spread
from models.training.score_levels import ScoreLevels
from models.training.sponsored import Levels, check_samples, train_on_impressions
from models.training.tables import Tables, decayed_popularity
from ranking.calibration import Calibration
from ranking.choosing import Judged
from ranking.thompson import Posterior
from retrieval.complements import Complements
from retrieval.index import IndexSettings
from retrieval.metrics import auc, copc, ece, gauc, log_loss
from retrieval.pairs import PairScorer
from retrieval.snapshot import Snapshot
from retrieval.text_encoder import TextEncoder

LEVEL_REQUESTS = 1000
"""Validation requests at most on which levels of scores are compared."""


@dataclass(frozen=True)
class Trained:
    """Everything that a bundle is made of, over m items."""

    config: TrainConfig
    dataset: Dataset
    schema: Schema
    plan: Plan
    encoders: Encoders
    ranker: RankerModel
    calibrator: Calibration
    tables: Tables
    snapshot: Snapshot
    metrics: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    scorer: PairScorer | None = None
    complements: Complements | None = None
    posterior: Posterior | None = None
    ranges: Ranges | None = None
    """What the ranker's experts read and give, by validation's candidates; None where nobody measured."""


def train(dataset: Dataset, config: TrainConfig) -> Trained:
    """Train all stages. The events of the test period are never read.

    Raises:
        ConfigError: the configuration names something that does not exist.
        ValueError: the data set is too small for the protocol.
    """
    check_names(config)
    check_samples(config)
    text = text_model(config.query, config.threads)
    deterministic(config.threads, config.seed)
    ground = Ground.of(dataset, config)
    encoders = Encoders.learn(ground, text)
    judges = encoders.judges(ground)
    with ground.timed("retrieval"):
        candidates = Candidates.of(ground, encoders, judges)
    plan = candidates.plan
    with ground.timed("ranker"):
        ranker, levels = _ranked(ground, candidates, encoders, text)
    with ground.timed("distillation"):
        preranker, judged = _taught(ground, candidates, encoders.preranker, ranker)
        survived, _ = agreement(ground.features, ranker, judged, plan.ranked)
    with ground.timed("calibration"):
        told = _levels(ground, ranker, judged, plan)
        levels = levels or told
        calibrator, tried, posterior = _calibrated(ground, levels)
        ranges = _ranges(ground, ranker, judged, plan)
    interests = preranker.interests(ground.features.batch(ground.validation))
    metrics = {
        "validation": {
            "requests": len(ground.validation),
            "tower_ndcg@10": encoders.towers.best,
            "preranker_ndcg@10": preranker.best,
            "interest_cosine": float(interest_cosine(interests).mean()),
            "funnel_recall": float(survived.mean()),
            "recall_at_quotas": candidates.union_recall,
            **_judge_funnel(judged.pools, plan),
            "final_ndcg@10": funnel_ndcg(told.logits, judged.pools),
            **ranker.searched,
            **_judge_ranker(levels.logits, levels.pools, calibrator),
            "calibration_log_loss": {kind: one.log_loss for kind, one in tried.items()},
            "calibration_ece": {kind: one.ece for kind, one in tried.items()},
        }
    }
    served = replace(encoders, preranker=preranker)
    if config.refit:
        taught = preranker is not encoders.preranker
        again = encoders.refitted(ground, text)
        served = replace(again, preranker=preranker) if taught else again
        _acquaint(ranker, ground, candidates, encoders, served, judged)
    known = ground.split.train_and_validation
    with ground.timed("retrieval"):
        final = candidates.funnels.through(served).after(known)
    with ground.timed("complements"):
        settings = IndexSettings(config.retrieval.index)
        complements = learn_complements(
            dataset, known, config.complements, settings, config.seed, config.threads
        )
    return Trained(
        config,
        dataset,
        ground.features.schema,
        replace(plan, calibration=calibrator.kind),
        served,
        ranker,
        calibrator,
        final.tables,
        final.snapshot,
        metrics,
        ground.seconds,
        final.scorer,
        complements,
        posterior,
        ranges,
    )


def _ranked(
    ground: Ground, candidates: Candidates, encoders: Encoders, text: TextEncoder | None
) -> tuple[RankerModel, Levels | None]:
    """The ranker, and what its calibrator is fitted on where that is not validation's candidates."""
    config, features = ground.config, ground.features
    if config.ranker.samples == "impressions":
        return train_on_impressions(
            features, candidates.before, candidates.known, ground.late, ground.split, config
        )
    older = features.timeline.requests(ground.early)
    data = RankerData(
        ground.own,
        candidates.pools,
        candidates.uniform,
        candidates.uniform_cross,
        older,
        ground.validation,
        candidates.held_out,
    )
    ranked, query_size = candidates.plan.ranked, config.tower.dim + 1
    data = data.within(ranked)
    ranker = train_ranker(
        features,
        data,
        ranked,
        config.ranker,
        config.seed,
        query_size,
        start=encoders.towers.items,
        cut=candidates.plan.cut,
    )
    return learn_searches(ground, candidates, encoders, text, ranker, data), None


def _taught(
    ground: Ground, candidates: Candidates, preranker: PreRankerModel, ranker: RankerModel
) -> tuple[PreRankerModel, Asked]:
    """The pre-ranker, taught by the ranker if that helped, and validation's candidates in its order."""
    plan, judged = candidates.plan, Asked(ground.validation, candidates.held_out)
    taught = distil(
        ground.features,
        preranker,
        ranker,
        Asked(ground.own, candidates.pools),
        judged,
        plan.ranked,
        ground.config.preranker,
        ground.config.seed,
        plan.cut,
    )
    if taught is not preranker:
        judged = reordered(ground.features, taught, judged, plan.cut)
    return taught, judged


def _calibrated(ground: Ground, levels: Levels) -> tuple[Calibration, Mapping[str, Judged], Posterior]:
    """The calibrator, what each kind that was tried is worth, and what Thompson sampling draws from."""
    dataset = ground.dataset
    names = [dataset.placements[place] for place in levels.placement]
    calibrator, tried = fit_calibrator(
        ground.config.calibration, levels.logits, levels.pools, levels.now_ms, names
    )
    counted = decayed_popularity(dataset, ground.split.train)
    posterior = fit_posterior(calibrator, levels.logits, levels.pools, levels.placement, counted)
    return calibrator, tried, posterior


def _acquaint(
    ranker: RankerModel,
    ground: Ground,
    candidates: Candidates,
    encoders: Encoders,
    served: Encoders,
    judged: Asked,
) -> None:
    """Let the ranker, which learned from `encoders`, read the queries and scores of those that are served."""
    ranker.turn_queries(turn(encoders.space.vectors, served.space.vectors))
    with ground.timed("retrieval"):
        ranker.read_levels(*_levels_moved(ground, candidates, judged, served))


def _levels_moved(
    ground: Ground, candidates: Candidates, judged: Asked, served: Encoders
) -> tuple[ScoreLevels, ScoreLevels]:
    """The levels of scores by the encoders that were judged, and by those that are served: of validation's
    candidates, found and counted alike."""
    width, requests = candidates.plan.ranked, judged.requests
    some = np.linspace(0, len(requests) - 1, min(len(requests), LEVEL_REQUESTS)).astype(np.int64)
    after = candidates.funnels.through(served).after(ground.split.train, candidates.known.tables)
    return (
        ScoreLevels.of([judged.pools[r] for r in some], width),
        ScoreLevels.of(after.pools(requests.at(some), "candidates, refitted"), width),
    )


def _levels(ground: Ground, ranker: RankerModel, judged: Asked, plan: Plan) -> Levels:
    requests = judged.requests
    logits = ranker.logits(ground.features.batch(requests), judged.pools, plan.ranked)
    return Levels(logits, judged.pools, requests.placement, requests.now_ms)


def _ranges(ground: Ground, ranker: RankerModel, judged: Asked, plan: Plan) -> Ranges | None:
    if not judged.pools:
        return None
    some = spread(np.arange(len(judged.requests)))
    pools = [judged.pools[r] for r in some]
    return ranker.ranges(ground.features.batch(judged.requests.at(some)), pools, plan.ranked)


def _judge_funnel(pools: list[Pool], plan: Plan) -> dict[str, float]:
    as_preranked = [-np.arange(len(pool.rows[: plan.ranked]), dtype=np.float32) for pool in pools]
    return {
        "recall_retrieved": share_found(pools),
        "recall_preranked": share_found(pools, plan.ranked),
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
