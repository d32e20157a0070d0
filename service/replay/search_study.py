"""`cascada evaluate --study search`: what each step of a search is worth, judged on queries by time.

The last share of the data set's queries is the test, the share before it validation. Towers, pre-ranker and
ranker are trained on events before validation, the query tower on queries before validation to choose the
weights, then once more on all before the test. A request is one user's query with all that he took; his
history is what he did before, without those items, and what else is in it is left out of every list.

The ranker's phase on searches is judged apart: the run's ranker as it was before stands beside it, with
weights of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from tqdm import tqdm

from models.data.columns import Dataset, Queries
from models.export.bundle import write_bundle
from models.export.graphs import export_query
from models.graph import Graph
from models.plan import Plan
from models.text import query_words
from models.training.config import QueryConfig, TrainConfig
from models.training.query import train_query
from models.training.run import train
from models.training.run_folder import read_run, write_run
from retrieval.fusion import reciprocal_ranks
from retrieval.metrics import mean_and_error, paired_test, ranking_metrics
from retrieval.query_tower import QueryTower
from service.bundle import Bundle
from service.cascade.candidates import Candidates
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import ItemId, Kind, Request, UserId
from service.cascade.scorers.found import FEATURES, LISTS, feature
from service.engine import Engine
from service.features.store import UserRecord
from service.replay.table import table

Rows = NDArray[np.int32]
Doubles = NDArray[np.float64]
Found = Mapping[str, Any]

VALIDATION, TEST = 0.15, 0.15
"""Shares of the queries, the newest for the test."""
LIST = 100
WIDE = 200
"""The longest list that a request may ask for: all of it is there to learn from."""
STEPS = ("lexical", "dense", "fused", "fused and personalised", "and the ranker reads the query")
KS = (1.0, 5.0, 20.0, 60.0)
SHARES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Weights of the dense list beside 1 of the lexical one that are tried."""
RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
FOLDS = 5
COLUMNS = ("NDCG@10", "HR@10", "MRR@10", "Recall@100")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request: who searches for what, when, what he took, and his history without that."""

    text: str
    relevant: Rows
    now_ms: int
    user_id: UserId
    record: UserRecord


@dataclass(frozen=True, slots=True)
class Answer:
    """What each list had: `pool` the candidates after the filters, `ranked` those with every feature."""

    pool: Candidates
    ranked: Candidates
    answer: Rows
    degraded: tuple[str, ...]


def study(
    dataset: Dataset, config: TrainConfig, seeds: Sequence[int], *, fit: str = "refit"
) -> dict[str, Any]:
    """Train on each seed, choose on validation, judge on the test; plain JSON types.

    Raises:
        ValueError: the data set has too few queries.
    """
    asked = dataset.queries
    if asked is None or len(asked) < 20:
        raise ValueError(f"{dataset.name}: the search study wants a table of queries, at least 20 of them")
    first, second = (
        int(asked.time_ms[int(len(asked) * share)]) for share in (1 - VALIDATION - TEST, 1 - TEST)
    )
    trials = []
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="cascada-study-") as folder:
            own = config.model_copy(update={"seed": seed})
            bundles, validated = trained(before(dataset, first), own, Path(folder))
            found = judged(dataset, bundles, own.query, first, second, seed)
            trials.append({"seed": seed, "validated": validated, **found})
    return {
        "dataset": dataset.name,
        "config": config.model_dump(mode="json", exclude_defaults=True),
        "trials": trials,
    }


def trained(past: Dataset, config: TrainConfig, folder: Path) -> tuple[list[Bundle], Mapping[str, float]]:
    """The bundles of a run on `past`: with the ranker that reads no queries, and if one that does was kept
    with that; and what validation said of the two."""
    found = train(past, config)
    rankers = [found.ranker] if found.ranker.unread is None else [found.ranker.unread, found.ranker]
    bundles = []
    for number, ranker in enumerate(rankers):
        own = folder / str(number)
        write_run(own / "run", replace(found, ranker=ranker))
        path = write_bundle(read_run(own / "run"), own / "bundles", datetime.now(UTC))
        bundles.append(Bundle.open(path, verify=False))
    return bundles, found.ranker.searched


def before(dataset: Dataset, time_ms: int) -> Dataset:
    """The data set as it was at a moment: items and users stay, events and queries from then on are gone.

    A data set's own split, which is of the whole, is gone as well.
    """
    count = int(np.searchsorted(dataset.event_time_ms, time_ms))
    columns = ("user", "item", "kind", "time_ms", "value", "placement", "session")
    cut = {f"event_{name}": getattr(dataset, f"event_{name}")[:count] for name in columns}
    asked = dataset.queries
    queries = None if asked is None else asked.at(asked.time_ms < time_ms)
    return replace(dataset, **cut, event_part=None, impressions=None, queries=queries)


def judged(
    dataset: Dataset, bundles: Sequence[Bundle], config: QueryConfig, first: int, second: int, seed: int
) -> dict[str, Any]:
    """Weights from the queries of [first, second), figures from those from `second` on.

    All steps but the last are those of the first of the `bundles`; the second, if there is one, is the same
    but for its ranker.
    """
    asked = dataset.queries
    assert asked is not None
    validation = asks(dataset, asked.at((asked.time_ms >= first) & (asked.time_ms < second)))
    test = asks(dataset, asked.at(asked.time_ms >= second))
    early = query_tower(bundles[0], dataset, asked.at(asked.time_ms < first), config, seed)
    plan = replace(bundles[0].plan, search={"relevance": 1.0})
    found = replay(replace(bundles[0], query_tower=early), plan, validation, "validation")
    plan = replace(plan, **chosen_fusion(found, validation))
    seen = asked.at(asked.time_ms < second)
    late = query_tower(bundles[0], dataset, seen, config, seed)
    plans, answered = [], []
    for bundle in bundles:
        found = replay(replace(bundle, query_tower=early), plan, validation, "validation, fused")
        plans.append(replace(plan, search=chosen_weights(found, validation)))
        answered.append(replay(replace(bundle, query_tower=late), plans[-1], test, "test"))
    answers, plan = answered[0], plans[0]
    lists = lists_of(answers, plan)
    for step, others in zip(STEPS[4:], answered[1:], strict=False):
        lists[step] = padded([each.answer for each in others])
    known = {" ".join(query_words(text)) for text in seen.text}
    met = np.array([" ".join(query_words(ask.text)) in known for ask in test])
    return {
        "validation requests": len(validation),
        "requests": len(test),
        "users": len({ask.user_id for ask in test}),
        "met before": int(met.sum()),
        "plan": {"fusion": plan.fusion, "fusion_k": plan.fusion_k},
        "search": [each.search for each in plans],
        "degraded": sum(bool(each.degraded) for some in answered for each in some),
        "all": compared(lists, test),
        **{
            name: compared({step: rows[part] for step, rows in lists.items()}, chosen)
            for name, part in (("queries met before", met), ("new queries", ~met))
            if len(chosen := [ask for ask, own in zip(test, part, strict=True) if own]) > 1
        },
    }


def query_tower(
    bundle: Bundle, dataset: Dataset, queries: Queries, config: QueryConfig, seed: int
) -> QueryTower:
    """A query tower of these queries for the bundle's items, exported as any."""
    encoder = None if bundle.query_tower is None else bundle.query_tower.encoder
    model = train_query(dataset, queries, np.asarray(bundle.item_vectors, np.float32), config, seed, encoder)
    return QueryTower(Graph.open(export_query(model).onnx), model.reader)


def asks(dataset: Dataset, queries: Queries) -> list[Ask]:
    """One per user and text, at its first time; without those of strangers and without words."""
    groups: dict[tuple[int, str], list[int]] = {}
    for row, (user, text) in enumerate(zip(queries.user.tolist(), queries.text, strict=True)):
        if user >= 0 and (folded := " ".join(query_words(text))):
            groups.setdefault((user, folded), []).append(row)
    by_user = np.argsort(dataset.event_user, kind="stable")
    bounds = np.searchsorted(dataset.event_user[by_user], np.arange(dataset.users + 1))
    return [
        _ask(dataset, queries, user, rows, by_user[bounds[user] : bounds[user + 1]])
        for (user, _), rows in groups.items()
    ]


def _ask(dataset: Dataset, queries: Queries, user: int, rows: list[int], events: NDArray[np.int64]) -> Ask:
    now_ms, relevant = int(queries.time_ms[rows[0]]), np.unique(queries.item[rows]).astype(np.int32)
    known = (dataset.event_time_ms[events] < now_ms) & ~np.isin(dataset.event_item[events], relevant)
    events = events[known]
    record = UserRecord(
        dataset.user_records[user],
        [ItemId(dataset.item_ids[row]) for row in dataset.event_item[events].tolist()],
        [dataset.event_kinds[kind] for kind in dataset.event_kind[events].tolist()],
        dataset.event_time_ms[events].tolist(),
        known=True,
    )
    return Ask(queries.text[rows[0]], relevant, now_ms, UserId(dataset.user_ids[user]), record)


def replay(bundle: Bundle, plan: Plan, requests: Sequence[Ask], label: str) -> list[Answer]:
    """Answer every request by the cascade that serves."""
    engine = Engine.build(bundle, NullObserver(), plan=plan)
    answers = []
    for number, ask in enumerate(tqdm(requests, desc=label, unit="query", disable=None)):
        batches: dict[str, Candidates] = {}
        request = Request(
            kind=Kind.SEARCH, user_id=ask.user_id, text=ask.text, count=WIDE, include_seen=False
        )
        query = engine.hydrate(request, ask.record, Moment(f"study-{number}", ask.now_ms))
        outcome = engine.run(query, batches.__setitem__)
        answers.append(Answer(batches["filter"], batches["rank"], outcome.rows[:LIST], outcome.degraded))
    return answers


def chosen_fusion(found: Sequence[Answer], requests: Sequence[Ask]) -> dict[str, Any]:
    """The weights and k whose fused list has the best NDCG@10."""
    relevant = padded([ask.relevant for ask in requests])

    def worth(k: float, share: float) -> float:
        weights = {"lexical": 1.0, "dense": share}
        ranked = padded([fused(each.pool, weights, k) for each in found])
        return float(ranking_metrics(ranked, relevant)["NDCG@10"].mean())

    k, share = max(product(KS, SHARES), key=lambda pair: worth(*pair))
    return {"fusion": {"lexical": 1.0, "dense": share}, "fusion_k": k}


def chosen_weights(found: Sequence[Answer], requests: Sequence[Ask]) -> dict[str, float]:
    """The weights of `FEATURES` by a listwise softmax with a ridge, which is chosen by folds of requests."""
    examples = [
        (np.stack([feature(name, each.ranked) for name in FEATURES], axis=1), hit, each.ranked.rows, ask)
        for each, ask in zip(found, requests, strict=True)
        if (hit := np.isin(each.ranked.rows, ask.relevant)).any()
    ]

    def worth(ridge: float) -> float:
        gained = []
        for fold in range(FOLDS):
            weights = _softmax_fit([e[:2] for i, e in enumerate(examples) if i % FOLDS != fold], ridge)
            for features, _, rows, ask in examples[fold::FOLDS]:
                order = np.argsort(-(features @ weights), kind="stable")
                metrics = ranking_metrics(rows[order][None], ask.relevant[None])
                gained.append(float(metrics["NDCG@10"][0]))
        return float(np.mean(gained)) if gained else 0.0

    weights = _softmax_fit([each[:2] for each in examples], max(RIDGES, key=worth))
    return {name: round(float(weight), 3) for name, weight in zip(FEATURES, weights, strict=True)}


def _softmax_fit(examples: Iterable[tuple[Doubles, NDArray[np.bool_]]], ridge: float) -> Doubles:
    """Weights from 0 up with the least mean cross-entropy of what was taken among all candidates."""
    examples = list(examples)

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        value, slope = ridge * float(weights @ weights), 2 * ridge * weights
        for features, taken in examples:
            logits = features @ weights
            shares = np.exp(logits - logits.max())
            shares /= shares.sum()
            target = taken / taken.sum()
            value -= float(target @ np.log(np.maximum(shares, 1e-30))) / len(examples)
            slope += features.T @ (shares - target) / len(examples)
        return value, slope

    start = np.zeros(len(FEATURES))
    if not examples:
        return start
    # Features that say nearly the same would take weights of opposite signs, which fit these few users only.
    positive = [(0.0, None)] * len(FEATURES)
    found = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=positive)
    return np.asarray(found.x)


def fused(pool: Candidates, weights: Mapping[str, float], k: float) -> Rows:
    """The head of a pool by reciprocal rank."""
    lists = {name: pool.columns[f"{name}_score"] for name in LISTS if f"{name}_score" in pool.columns}
    if not lists:
        return pool.rows[:0]
    return pool.rows[np.lexsort((pool.rows, -reciprocal_ranks(lists, weights, k)))][:LIST]


def lists_of(answers: Sequence[Answer], plan: Plan) -> dict[str, Rows]:
    """The lists [R, LIST] of each of `STEPS`."""
    alone = {"lexical": {"dense": 0.0}, "dense": {"lexical": 0.0}}
    lists = {
        name: padded([_only(each.pool, name, weights) for each in answers]) for name, weights in alone.items()
    }
    lists["fused"] = padded([fused(each.pool, plan.fusion, plan.fusion_k) for each in answers])
    lists["fused and personalised"] = padded([each.answer for each in answers])
    return lists


def _only(pool: Candidates, name: str, weights: Mapping[str, float]) -> Rows:
    column = pool.columns.get(f"{name}_score")
    mine = pool.take(np.zeros(len(pool), bool) if column is None else np.isfinite(column))
    return fused(mine, weights, 1.0)


def padded(lists: Sequence[Rows]) -> Rows:
    """Lists of different lengths as one array, padded with -1."""
    out = np.full((len(lists), max((len(each) for each in lists), default=1) or 1), -1, np.int32)
    for row, each in enumerate(lists):
        out[row, : len(each)] = each
    return out


def compared(lists: Mapping[str, Rows], requests: Sequence[Ask]) -> dict[str, Any]:
    """The figures of every step, and paired tests of NDCG@10 against the step before."""
    relevant = padded([ask.relevant for ask in requests])
    metrics = {name: ranking_metrics(rows, relevant) for name, rows in lists.items()}
    answer: dict[str, Any] = {"requests": len(requests)}
    steps = [name for name in STEPS if name in lists]
    for before_it, name in zip((None, *steps), steps, strict=False):
        _, error = mean_and_error(metrics[name]["NDCG@10"])
        line: dict[str, Any] = {column: float(metrics[name][column].mean()) for column in COLUMNS}
        line["error"] = error
        if before_it is not None:
            test = paired_test(metrics[name]["NDCG@10"], metrics[before_it]["NDCG@10"])
            line |= {"better by": test.difference, "p": test.p_value}
        answer[name] = line
    return answer


def tell(found: Found) -> str:
    """One table per seed and part of the requests."""
    parts = []
    for trial in found["trials"]:
        parts.append(
            f"Search on {found['dataset']}, seed {trial['seed']}: {trial['requests']} queries of "
            f"{trial['users']} users by time, {trial['met before']} of them met in training; weights chosen "
            f"on the {trial['validation requests']} queries before. In brackets the standard error over "
            "queries; the last column is NDCG@10 minus that of the line above, paired test."
        )
        for name in ("all", "queries met before", "new queries"):
            if name in trial:
                parts.append(f"{name.capitalize()} ({trial[name]['requests']}):\n\n{_lines(trial[name])}")
        plan = ", ".join(f"{key} = {value}" for key, value in trial["plan"].items())
        parts.append(f"Chosen: {plan}")
        for step, weights in zip(STEPS[3:], trial["search"], strict=False):
            parts.append(f"Chosen, {step}: search = {weights}")
        if validated := trial["validated"]:
            kept = "reads queries" if len(trial["search"]) > 1 else "reads no queries"
            parts.append(
                f"The ranker's phase on searches: NDCG@10 {validated['search_ndcg@10']:.4f} of "
                f"{validated['searches']:.0f} searches of the run's own validation, "
                f"{validated['search_ndcg@10_unread']:.4f} before it; kept is the ranker that {kept}."
            )
    return "\n\n".join(parts)


def _lines(part: Found) -> str:
    rows = []
    for name in (step for step in STEPS if step in part):
        line = part[name]
        step = f"{line['better by']:+.4f}, p = {line['p']:.2g}" if "p" in line else ""
        first = f"{line['NDCG@10']:.4f} ({line['error']:.4f})"
        rows.append([name, first, *(f"{line[column]:.4f}" for column in COLUMNS[1:]), step])
    return table(("list", *COLUMNS, "better than the line above by"), rows)
