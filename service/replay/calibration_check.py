"""`cascada evaluate --bundle B --calibration`: do a bundle's click probabilities hold on its test events?

Every candidate that the ranker scored is a sample, clicked if the user went for it. The bundle's calibrator
is judged on all test requests. On the newer half of them it stands beside calibrators that were fitted, and
of which one was chosen, on the older half: what a refit with `cascada calibrate` would be worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.dataset import load_dataset
from models.training.config import SplitConfig
from models.training.held_out import HeldOut, held_out
from models.training.timeline import Timeline
from ranking.calibration import calibrators
from ranking.choosing import LATER, Samples, choose_kind, judge_kinds
from ranking.samples import sigmoid
from service.bundle import Bundle
from service.bundles import list_bundles
from service.cascade.observe import NullObserver
from service.engine import Engine
from service.replay.calibration_tables import COPC_GOAL, ECE_GOAL
from service.replay.replay import Replayed, replay
from service.replay.table import table

Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]

DRAWS = 2000
BINS = 20
OWN = "the bundle's own"


@dataclass(frozen=True, slots=True)
class Scored:
    """Candidates [n] that were ranked, in order of time: request, user, logit, pCTR, and whether clicked."""

    request: Rows
    user: Rows
    logits: Doubles
    chances: Doubles
    labels: Doubles

    @classmethod
    def of(cls, replayed: Sequence[Replayed], requests: HeldOut) -> Scored:
        """Of all requests [R], the earliest first.

        Raises:
            ValueError: nothing was ranked.
        """
        relevant = requests.relevant
        order = np.argsort(requests.now_ms, kind="stable").tolist()
        sizes = [len(replayed[r].steps.get("rank", ())) for r in order]
        parts = [
            (
                replayed[r].logit,
                replayed[r].pctr,
                np.isin(replayed[r].steps["rank"], relevant[r][relevant[r] >= 0]),
            )
            for r, size in zip(order, sizes, strict=True)
            if size
        ]
        if not parts:
            raise ValueError("no candidate was ranked, so there is no probability to judge")
        columns = [np.concatenate(each).astype(np.float64) for each in zip(*parts, strict=True)]
        users = np.asarray(requests.user)[order].astype(np.int64)
        return cls(np.repeat(np.arange(len(order)), sizes), np.repeat(users, sizes), *columns)

    def at(self, index: NDArray[np.bool_]) -> Scored:
        """Some of them."""
        return Scored(
            self.request[index], self.user[index], self.logits[index], self.chances[index], self.labels[index]
        )


def judged(dataset_folder: Path, bundle_folder: Path, threads: int) -> dict[str, Any]:
    """The figures of a bundle on the test requests of the data set that it was trained on.

    Raises:
        ValueError: the data set is another one, or there is nothing to judge by.
        BundleError, DataError: one of the two cannot be read.
    """
    below = list_bundles(bundle_folder)
    bundle = Bundle.open(below[0].folder if below else bundle_folder, threads=threads)
    dataset = load_dataset(dataset_folder)
    if dataset.fingerprint != bundle.manifest.dataset.get("fingerprint"):
        raise ValueError(f"{dataset_folder}: the bundle was trained on another data set")
    split = SplitConfig.model_validate(bundle.manifest.training["config"]["split"]).apply(dataset)
    timeline = Timeline(dataset)
    requests = held_out(timeline, split.test, after_last=False)
    replayed = replay(Engine.build(bundle, NullObserver()), dataset, timeline, requests)
    found = check(Scored.of(replayed, requests))
    return {"bundle": bundle.version, "dataset": dataset.name, "kind": bundle.calibrator.kind, **found}


def check(scored: Scored, seed: int = 0) -> dict[str, Any]:
    """Figures as plain JSON types.

    Raises:
        ValueError: one half of the requests has no click.
    """
    requests = int(scored.request.max()) + 1
    older, newer = (scored.at(side) for side in _halves(scored.request, requests // 2))
    if not (older.labels.any() and newer.labels.any()):
        raise ValueError("a half of the test requests has no click among its candidates")
    known = Samples(older.logits, older.labels)
    before, after = known.cut(int(np.searchsorted(older.request, round(requests // 2 * (1 - LATER)))))
    chosen = choose_kind(judge_kinds(before, after, sorted(calibrators)), after)
    refits = {
        f"{kind}, refitted": calibrators[kind].fit(older.logits, older.labels)(newer.logits)
        for kind in sorted(calibrators)
    }
    methods = {"none: sigmoid of the logit": sigmoid(newer.logits), OWN: newer.chances, **refits}
    return {
        "requests": requests,
        "chosen": f"{chosen}, refitted",
        "all": {OWN: figures(scored, scored.chances, seed)},
        "newer": {name: figures(newer, chances, seed) for name, chances in methods.items()},
    }


def figures(scored: Scored, chances: Doubles, seed: int) -> dict[str, float]:
    """ECE and COPC with 95% intervals by bootstrap over users, and the ECE of pure chance.

    Bins of equal mass are those of all samples in every draw (our choice). `ECE by chance` is what labels
    drawn from the probabilities themselves give: no calibrator can be shown to be better than that.
    """
    rng = np.random.default_rng(seed)
    edges = np.quantile(chances, np.linspace(0, 1, BINS + 1)[1:-1])
    bins = np.searchsorted(edges, chances, side="right")
    _, user = np.unique(scored.user, return_inverse=True)
    users = int(user.max()) + 1
    cell = user * BINS + bins
    predicted, clicked, size = (
        np.bincount(cell, weights=values, minlength=users * BINS).reshape(users, BINS)
        for values in (chances, scored.labels, np.ones(len(chances)))
    )
    weight = rng.multinomial(users, np.full(users, 1 / users), DRAWS).astype(np.float64)
    ece = np.abs(weight @ (predicted - clicked)).sum(1) / (weight @ size).sum(1)
    clicks = (weight @ clicked).sum(1)
    copc = (weight @ predicted).sum(1) / np.maximum(clicks, 1.0)
    honest = [
        np.abs(
            predicted.sum(0) - np.bincount(bins, weights=rng.random(len(chances)) < chances, minlength=BINS)
        ).sum()
        for _ in range(100)
    ]
    low, high = np.quantile(copc, [0.025, 0.975]).tolist()
    ece_low, ece_high = np.quantile(ece, [0.025, 0.975]).tolist()
    return {
        "candidates": len(chances),
        "clicks": float(scored.labels.sum()),
        "ECE": float(np.abs((predicted - clicked).sum(0)).sum() / len(chances)),
        "ECE low": ece_low,
        "ECE high": ece_high,
        "ECE by chance": float(np.mean(honest) / len(chances)),
        "COPC": float(predicted.sum() / clicked.sum()),
        "COPC low": low,
        "COPC high": high,
    }


def tell(found: dict[str, Any]) -> str:
    """The tables, and what was reached."""
    own = found["all"][OWN]
    rate = own["clicks"] / own["candidates"]
    half = (own["COPC high"] - own["COPC low"]) / 2
    return "\n\n".join(
        [
            f"Bundle {found['bundle']} ({found['kind']}) on {found['dataset']}, all {found['requests']:,} "
            f"test requests: {own['candidates']:,} ranked candidates, "
            f"{own['clicks']:,.0f} clicks ({rate:.2%}).",
            _table(found["all"]),
            _verdict(own),
            "The newer half of them; refitted = on the older half, where its last 40% chose "
            f"{found['chosen'].removesuffix(', refitted')}.",
            _table(found["newer"]),
            f"Intervals: 95% by bootstrap over users, {DRAWS:,} draws. ECE by chance is what clicks drawn "
            f"from the probabilities themselves give. So few clicks tell COPC to ±{half:.0%}"
            + (
                f": whether it is within {COPC_GOAL[0]} to {COPC_GOAL[1]} cannot be told from them."
                if half > (COPC_GOAL[1] - COPC_GOAL[0]) / 2
                else "."
            )
            + f" At a rate of {rate:.2%} an ECE of {ECE_GOAL} is easily reached.",
        ]
    )


def _halves(request: Rows, first: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return request < first, request >= first


def _table(methods: dict[str, dict[str, float]]) -> str:
    rows = [
        [
            name,
            f"{one['ECE']:.5f} ({one['ECE low']:.5f} to {one['ECE high']:.5f})",
            f"{one['ECE by chance']:.5f}",
            f"{one['COPC']:.3f} ({one['COPC low']:.3f} to {one['COPC high']:.3f})",
        ]
        for name, one in methods.items()
    ]
    return table(("calibrator", "ECE", "ECE by chance", "COPC"), rows)


def _verdict(one: dict[str, float]) -> str:
    within = COPC_GOAL[0] <= one["COPC"] <= COPC_GOAL[1]
    return (
        f"ECE at most {ECE_GOAL}: {'reached' if one['ECE'] <= ECE_GOAL else 'missed'}. "
        f"COPC in {COPC_GOAL[0]} to {COPC_GOAL[1]}: {'reached' if within else 'missed'}."
    )
