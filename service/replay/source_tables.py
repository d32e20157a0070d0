"""What the study of sources found, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.studies.sources import DEPTHS
from service.replay.table import table

Found = Mapping[str, Any]


def tell_sources(found: Found) -> str:
    """Sources alone, their union and the union without each; means over seeds, p the largest of a seed."""
    trials = found["trials"]
    above = ", ".join(f"{trial['above the best alone']:+.1%}" for trial in trials)
    title = (
        f"Sources on {found['dataset']}, {found['protocol']}, {trials[0]['users']} users with a history, "
        f"whole catalogue, seen items left out, {found['candidates']} candidates at most; seeds "
        f"{', '.join(str(trial['seed']) for trial in trials)}. In brackets the standard error over users; "
        "the last column is the union's recall@1000 minus the row's, with a paired test. Against the best "
        f"source alone at the same budget the union has {above}."
    )
    chosen = "; ".join(_chosen(trial) for trial in trials)
    rows = [
        ["union", *_cells([trial["union"] for trial in trials], tested=False)],
        *(
            [f"{name} alone", *_cells([trial["alone"][name] for trial in trials])]
            for name in trials[0]["alone"]
        ),
        *(
            [f"union without {name}", *_cells([trial["without"][name] for trial in trials])]
            for name in trials[0]["without"]
        ),
    ]
    head = ("candidates of", "size", *(f"recall@{depth}" for depth in DEPTHS), "union is better by")
    return "\n\n".join([title, f"Chosen on validation: {chosen}.", table(head, rows)])


def _chosen(trial: Found) -> str:
    quotas = ", ".join(f"{name} {share:g}" for name, share in trial["quotas"].items())
    half_life = trial["trending half-life, days"]
    return quotas + ("" if half_life is None else f" (half-life {half_life:g} days)")


def _cells(lines: Sequence[Found], *, tested: bool = True) -> list[str]:
    cells = [f"{np.mean([line['size'] for line in lines]):.0f}"]
    for depth in DEPTHS:
        mean = np.mean([line[f"recall@{depth}"] for line in lines])
        error = np.mean([line[f"recall@{depth} error"] for line in lines])
        cells.append(f"{mean:.4f} ({error:.4f})")
    difference = np.mean([line["union is better by"] for line in lines])
    return [*cells, f"{difference:+.4f}, p = {max(line['p'] for line in lines):.1g}" if tested else ""]
