"""What the study of relations found, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.data.columns import RELATIONS
from service.replay.table import table

Found = Mapping[str, Any]

_OTHER = dict(zip(RELATIONS, RELATIONS[::-1], strict=True))


def tell_relations(found: Found) -> str:
    """Methods against both relations, the confusion, and what was chosen; means over seeds."""
    trials = found["trials"]
    anchors = trials[0]["anchors"]
    title = (
        f"Related items on {found['dataset']}, {found['protocol']}: NDCG@10 of lists over the whole "
        f"catalogue for {anchors['judged on']} items that are known to have both relations, after the events "
        f"before the test; {anchors['chosen on']} others chose settings and weights; seeds "
        f"{', '.join(str(trial['seed']) for trial in trials)}. In brackets the standard error over items; p "
        "is the largest of a seed in paired tests against the service's list of the relation."
    )
    confusion = (
        "How many of ten places hold what is listed as similar, as complementary, and as one without the "
        "other: of a list of one relation, the other's alone is its confusion."
    )
    names = list(trials[0]["methods"])
    share = np.mean([trial["both lists share"] for trial in trials])
    return "\n\n".join(
        [
            title,
            table(
                _JUDGED, [[name, *_judged([trial["methods"][name] for trial in trials])] for name in names]
            ),
            confusion,
            table(_HELD, [[name, *_held([trial["methods"][name] for trial in trials])] for name in names]),
            f"The service's two lists of an item have {10 * share:.1f} of ten items in common.",
            "\n".join(_choices(trial) for trial in trials),
        ]
    )


_JUDGED = (
    "list",
    *(cell for relation in RELATIONS for cell in (relation, "service is better by")),
    "complementary alone",
)
_HELD = (
    "list",
    *RELATIONS,
    *(f"{relation}, not {_OTHER[relation]}" for relation in RELATIONS),
)


def _judged(lines: Sequence[Found]) -> list[str]:
    cells = []
    for relation in RELATIONS:
        cells.append(_with_error(lines, relation))
        difference = _mean(lines, f"{relation}, service is better by")
        worst = max(line[f"{relation}, p"] for line in lines)
        cells.append(f"{difference:+.4f}, p = {worst:.1g}" if worst < 1 or difference else "")
    return [*cells, _with_error(lines, "complementary alone")]


def _held(lines: Sequence[Found]) -> list[str]:
    keys = [f"{relation} {kind}" for kind in ("listed", "listed alone") for relation in RELATIONS]
    return [f"{10 * _mean(lines, key):.2f} ({10 * _mean(lines, f'{key} error'):.2f})" for key in keys]


def _with_error(lines: Sequence[Found], key: str) -> str:
    return f"{_mean(lines, key):.4f} ({_mean(lines, f'{key} error'):.4f})"


def _mean(lines: Sequence[Found], key: str) -> float:
    return float(np.mean([line[key] for line in lines]))


def _choices(trial: Found) -> str:
    tried = trial["window and temperature, validation NDCG@10"]
    order = sorted(tried, key=lambda name: -tried[name])
    best = "; ".join(f"{name}: {tried[name]:.4f}" for name in order[:3])
    used = trial["used"]
    told = [
        f"Seed {trial['seed']}, on the other half: skip-gram, in with out, by window and temperature, the "
        f"best of {len(tried)}: {best}; used {used['window_days']:g} days, {used['temperature']:g}."
    ]
    for relation in RELATIONS:
        mine, chosen = (trial["weights"][who][relation] for who in ("shipped", "chosen"))
        told.append(f"Weights, {relation}: shipped {_weights(mine)}; chosen {_weights(chosen)}.")
    return " ".join(told)


def _weights(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in weights.items())
