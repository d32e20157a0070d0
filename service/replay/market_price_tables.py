"""What the study of market prices found, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.studies.market_price import CONSTANTS
from service.replay.table import table

Found = Mapping[str, Any]


def tell_market_price(found: Found) -> str:
    """A line per way to say a price: means over seeds, p the largest of a seed."""
    trials = found["trials"]
    seeds = ", ".join(str(trial["seed"]) for trial in trials)
    title = (
        f"Market prices on {found['dataset']}: learned from {found['impressions']:,} won impressions, judged "
        f"on the {found['judged']:,} after them; seeds {seeds}. Mean absolute error of the standardised log "
        "price and of the price in micros; in brackets the standard error over impressions; the last columns "
        "are the row's error minus the other's (below 0 = better), log price, paired test."
    )
    rows = []
    for name in trials[0]["methods"]:
        lines = [trial["methods"][name] for trial in trials]

        def mean(column: str, of: list[Found] = lines) -> float:
            return float(np.mean([line[column] for line in of]))

        cells = [
            f"{mean('MAE, log'):.4f} ({mean('MAE, log error'):.4f})",
            f"{mean('MAE, micros'):,.0f} ({mean('MAE, micros error'):,.0f})",
        ]
        for other in CONSTANTS:
            p = max(line[f"p against {other}"] for line in lines)
            cells.append("" if name == other else f"{mean(f'against {other}'):+.4f}, p = {p:.1g}")
        rows.append([name, *cells])
    head = ("price by", "MAE, log", "MAE, micros", *(f"against {other}" for other in CONSTANTS))
    return "\n\n".join([title, table(head, rows)])
