"""`cascada evaluate --study off-policy`: what logs say of other policies, what exploring costs and gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.data.columns import Dataset
from models.studies import exploration, off_policy
from models.studies.off_policy import ESTIMATORS, LEVELS
from models.training.config import TrainConfig
from service.replay.table import table

Found = Mapping[str, Any]

_COLUMNS = (
    "NDCG@10 while exploring",
    "clicks per list while exploring",
    "new items known",
    "NDCG@10 after training",
    "clicks per list after training",
)


def study(
    dataset: Dataset,
    config: TrainConfig,
    seeds: Sequence[int],
    *,
    fit: str = "refit",
    bandit: Path | None = None,
    redraws: int = 200,
    worlds: int = 30,
) -> dict[str, Any]:
    """The data set's own log, the simulator's with its truth, lists of our own, and Open Bandit if given.

    Each seed is a world of its own. Nothing is trained, so that `config` and `fit` do not matter.

    Raises:
        ValueError: the data set has no impressions with propensities.
        DataError: the Open Bandit logs cannot be read.
    """
    return {
        "dataset": dataset.name,
        "log": off_policy.of_dataset(dataset, seeds[0]),
        "open bandit": None if bandit is None else off_policy.of_open_bandit(bandit, seeds[0]),
        "simulator": [{"seed": seed, **off_policy.coverage(seed, redraws)} for seed in seeds],
        "own lists": [{"seed": seed, **exploration.coverage(seed, redraws // 3)} for seed in seeds],
        "exploration": [
            exploration.cost_and_gain(seeds[0], worlds, requests=many) for many in exploration.REQUESTS
        ],
    }


def tell(found: Found) -> str:
    """A part per kind of log, then the experiment."""
    parts = [*_own(found), *_open_bandit(found["open bandit"]), *_simulated(found), *_lists(found)]
    return "\n\n".join([*parts, *_exploring(found["exploration"])])


def _own(found: Found) -> list[str]:
    log = found["log"]
    rows = [
        [name, *(_interval(each[estimator]) for estimator in ESTIMATORS)]
        for name, each in log["policies"].items()
    ]
    title = (
        f"The log of {found['dataset']}, its newer half, {log['places']:,} places: clicks per place as "
        f"logged {_interval(log['logged'])}, and what other policies would have had, with 95% intervals."
    )
    return [title, table(("policy", *ESTIMATORS), rows)]


def _open_bandit(found: Found | None) -> list[str]:
    if found is None:
        return []
    rows = [
        [
            campaign,
            _percent(each["uniform, as logged"]),
            _percent(each["bts, as logged"]),
            *(_percent(each["estimates"][name]) for name in ESTIMATORS),
            ", ".join(f"{each['estimates'][name]['z']:+.1f}" for name in ESTIMATORS),
        ]
        for campaign, each in found.items()
    ]
    title = (
        "Open Bandit, 10,000 places per campaign and policy: the uniform policy's clicks per place, as it "
        "was logged, and as the log of Thompson sampling (bts) tells it. The last column is by how many "
        "standard errors the two are apart."
    )
    head = (
        "campaign",
        "uniform, as logged",
        "bts, as logged",
        *(f"uniform by {e}" for e in ESTIMATORS),
        "apart",
    )
    return [title, table(head, rows)]


def _simulated(found: Found) -> list[str]:
    trials = found["simulator"]
    rows = [
        [f"{name}, seed {trial['seed']}", *_coverage(policy, ESTIMATORS)]
        for trial in trials
        for name, policy in trial["policies"].items()
    ]
    title = (
        f"The simulator's log, drawn {trials[0]['redraws']} times, {trials[0]['places']:,.0f} places each: "
        "how often the 50% and the 95% interval hold the true value, and the mean estimate."
    )
    return [title, table(("policy", "truth", *_coverage_head(ESTIMATORS)), rows)]


def _lists(found: Found) -> list[str]:
    trials, names = found["own lists"], ("IPS", "SNIPS")
    rows = [[f"seed {trial['seed']}", *_coverage(trial, names)] for trial in trials]
    title = (
        f"Lists of our own by in-slate Thompson sampling, {trials[0]['redraws']} logs of "
        f"{trials[0]['places']:,} places with the propensities that serving would log: the value of sampling "
        "half as wide."
    )
    return [title, table(("log", "truth", *_coverage_head(names)), rows)]


def _exploring(found: Sequence[Found]) -> list[str]:
    first = found[0]
    title = (
        f"Exploring on simulated users, {first['worlds']} worlds, requests between two trainings as stated: "
        "in-slate Thompson sampling beside listing by the mean, then both list by the mean after training on "
        "their own lists. Differences to not exploring with their standard errors, paired by world."
    )
    rows = []
    for each in found:
        greedy = [f"{each['greedy'][name]:.4f}" for name in _COLUMNS]
        rows.append([f"{each['requests']:,} requests, not exploring", *greedy])
        rows += [
            [
                f"{each['requests']:,} requests, width {width}",
                *(f"{arm[name]['difference']:+.4f} ({arm[name]['error']:.4f})" for name in _COLUMNS),
            ]
            for width, arm in each["widths"].items()
        ]
    return [title, table(("lists", *_COLUMNS), rows)]


def _coverage_head(names: Sequence[str]) -> list[str]:
    return [
        column for name in names for column in (f"{name} mean", *(f"{name} {level:.0%}" for level in LEVELS))
    ]


def _coverage(policy: Found, names: Sequence[str]) -> list[str]:
    cells = [f"{policy['truth']:.4f}"]
    for name in names:
        each = policy[name]
        cells += [f"{each['mean']:.4f}", *(f"{each[f'covers {level:g}']:.0%}" for level in LEVELS)]
    return cells


def _interval(each: Found) -> str:
    return f"{each['value']:.4f} ({each['low']:.4f} to {each['high']:.4f})"


def _percent(each: Found) -> str:
    return f"{each['value']:.2%} ({each['low']:.2%} to {each['high']:.2%})"
