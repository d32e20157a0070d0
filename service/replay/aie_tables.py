"""What the study of auction bias found, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from models.studies.aie import BASE
from models.studies.selling import DECILES
from service.replay.table import table

Found = Mapping[str, Any]

_FIGURES = (
    "AUC",
    "log loss",
    "COPC",
    "worst bias",
    "spread by bid",
    "revenue",
    "value",
    "regret",
    "revenue of its bias",
    "revenue at COPC 1",
)
_TESTS = ("revenue", "value", "revenue at COPC 1")
_GOAL = 0.5
"""Of the base's worst bias, what is left at most."""


def tell_aie(found: Found) -> str:
    """The bias, the settings that validation chose, and the methods: as trained, and after the calibrator."""
    trials = found["trials"]
    seeds = ", ".join(str(trial["seed"]) for trial in trials)
    title = (
        f"Auction bias on {found['dataset']}: trained on {found['impressions']:,} won impressions, chosen on "
        f"the {found['validation']:,} after them, judged on all {found['candidates']:,} candidates of "
        f"{found['auctions']:,} held-out auctions; seeds {seeds}. COPC is predicted over expected clicks, "
        "worst bias the largest |COPC - 1| of a bid decile, spread by bid how far the largest COPC of a "
        "decile is above the least; revenue (second price) and value (bid) in micros per auction, sold by "
        "bid x pCTR against the same outsiders, clicks expected by the true CTR; regret the share of value "
        "lost against ranking by all that can be known."
    )
    return "\n\n".join(
        [
            title,
            "The bias, without any model: what won is not like what took part. The last line is what all "
            "that can be known promises of the winners, over their true CTR.",
            _bias(found["bias"]["deciles"]),
            "What promising too much earns by itself: ranked by all that can be known, one constant added to "
            "all logits.",
            _promises(found["promises"]),
            "So methods are compared a second time with such a constant each, by which their COPC is 1, and "
            "the level of their promises earns none of them anything. Revenue of its bias is what the truth "
            "would earn if it promised in each bid decile as much too much as the method does.",
            f"Chosen on validation, weighed by inverse propensities: {_chosen(found['chosen'])}.",
            "As trained:",
            _methods(found, _as_trained),
            _by_bid(found, _as_trained),
            "After Platt's calibrator, fitted on validation with inverse propensities as weights:",
            _methods(found, _calibrated),
            _by_bid(found, _calibrated),
            _verdict(trials),
        ]
    )


def _as_trained(line: Found) -> Found:
    return line


def _calibrated(line: Found) -> Found:
    calibrated: Found = line["calibrated"]
    return calibrated


def _bias(deciles: Sequence[Found]) -> str:
    def cells(name: str, form: str) -> list[str]:
        return ["" if line[name] is None else format(line[name], form) for line in deciles]

    rows = [
        ["share that won", *cells("won", ".1%")],
        ["hidden quality", *cells("hidden", "+.2f")],
        ["hidden quality of winners", *cells("hidden of winners", "+.2f")],
        ["promised over true", *cells("promised over true", ".2f")],
    ]
    return table(("bid decile", *map(str, range(1, DECILES + 1))), rows)


def _promises(levels: Sequence[Found]) -> str:
    rows = [
        [
            f"{line['level']:.1f}",
            f"{line['sold']:.0%}",
            *(f"{line[name]:,.0f}" for name in ("ours", "outsiders", "revenue", "value")),
        ]
        for line in levels
    ]
    return table(("COPC", "sold by us", "revenue from ours", "from outsiders", "revenue", "value"), rows)


def _chosen(chosen: Mapping[str, Found]) -> str:
    told = []
    for method, setting in chosen.items():
        if setting:
            told.append(f"{method} ({', '.join(f'{key} {value}' for key, value in setting.items())})")
    return "; ".join(told)


def _methods(found: Found, of: Callable[[Found], Found]) -> str:
    trials = found["trials"]
    best = found["best possible"]
    rows = [
        [
            method,
            *_cells([of(trial["methods"][method]) for trial in trials]),
            *(
                [""] * len(_TESTS)
                if method == BASE
                else [
                    _test([of(trial["methods"][method])[f"{name} test"] for trial in trials])
                    for name in _TESTS
                ]
            ),
        ]
        for method in trials[0]["methods"]
    ]
    rows.append(["all that can be known", *_cells([best]), *[""] * len(_TESTS)])
    return table(("method", *_FIGURES, *(f"{name} above base" for name in _TESTS)), rows)


def _cells(lines: Sequence[Found]) -> list[str]:
    def mean(name: str) -> float:
        return float(np.mean([line[name] for line in lines]))

    return [
        f"{mean('AUC'):.4f}",
        f"{mean('log loss'):.5f}",
        f"{mean('COPC'):.2f}",
        f"{mean('worst bias'):.2f}",
        f"{mean('spread by bid'):.0%}",
        f"{mean('revenue'):,.0f}",
        f"{mean('value'):,.0f}",
        f"{mean('regret'):.1%}",
        f"{mean('revenue of its bias'):,.0f}",
        f"{mean('revenue at COPC 1'):,.0f}",
    ]


def _test(tests: Sequence[Found]) -> str:
    """Mean difference over seeds, and the largest p of a seed."""
    difference = float(np.mean([test["difference"] for test in tests]))
    return f"{difference:+,.0f}, p = {max(test['p'] for test in tests):.1g}"


def _by_bid(found: Found, of: Callable[[Found], Found]) -> str:
    trials = found["trials"]
    rows = []
    for method in trials[0]["methods"]:
        values = np.mean([of(trial["methods"][method])["COPC by bid"] for trial in trials], axis=0)
        rows.append([method, *(f"{value:.2f}" for value in values)])
    return table(("COPC by bid decile", *map(str, range(1, DECILES + 1))), rows)


def _verdict(trials: Sequence[Found]) -> str:
    """Which method reaches the goal on every seed: half of the base's worst bias, and more revenue (p < .05).

    Serving cost is the same for all: what is exported is the ranker's graph alone.
    """
    lines = []
    for method in trials[0]["methods"]:
        if method == BASE:
            continue
        told = [
            _reached(
                name,
                [of(trial["methods"][method]) for trial in trials],
                [of(trial["methods"][BASE]) for trial in trials],
            )
            for name, of in (("as trained", _as_trained), ("calibrated", _calibrated))
        ]
        lines.append(f"- {method}: {'; '.join(told)}.")
    return "\n".join(
        [
            "The goal on every seed (worst bias at most half of the base's; revenue above it with p < 0.05):",
            *lines,
        ]
    )


def _reached(name: str, lines: Sequence[Found], base: Sequence[Found]) -> str:
    halved = all(own["worst bias"] <= _GOAL * its["worst bias"] for own, its in zip(lines, base, strict=True))
    revenue, level = _richer(lines, "revenue"), _richer(lines, "revenue at COPC 1")
    return f"{name}: bias {'halved' if halved else 'not halved'}, revenue {revenue}, at COPC 1 {level}"


def _richer(lines: Sequence[Found], name: str) -> str:
    tests = [line[f"{name} test"] for line in lines]
    return "up" if all(test["difference"] > 0 and test["p"] < 0.05 for test in tests) else "not up"
