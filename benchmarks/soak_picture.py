"""The picture of a soak: every series over time, the judged part with its slope."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure


def draw(series: Mapping[str, Sequence[float]], rows: Sequence[Mapping[str, Any]], warm: int) -> bytes:
    """A PNG with a panel per row of the table; the first `warm` windows are grey, for they are not judged."""
    minutes = np.asarray(series["minutes"])
    figure = Figure(figsize=(9, 1.7 * len(rows)), dpi=110, layout="constrained")
    panels = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    for number, (axes, row) in enumerate(zip(panels, rows, strict=True)):
        values = np.asarray(series[row["what"]])
        axes.plot(minutes[: warm + 1], values[: warm + 1], ".-", color="0.7")
        axes.plot(minutes[warm:], values[warm:], ".-", color=f"C{number}")
        middle = minutes[warm:].mean()
        line = row["median"] + row["slope per hour"] / 60 * (minutes[warm:] - middle)
        axes.plot(minutes[warm:], line, color="black", linewidth=1, linestyle="--")
        for moment in series.get("swaps at minute", ()):
            axes.axvline(moment, color="0.85", linewidth=1, zorder=0)
        low, high = min(values.min(), line.min()), max(values.max(), line.max())
        # As much room as a tenth of the value at least, so that a flat line looks flat.
        room = max(0.05 * abs(row["median"]), 0.1 * (high - low), 1e-9)
        axes.set_ylim(low - room, high + room)
        axes.set_title(f"{row['what']}: {row['verdict']}", fontsize=9, loc="left")
        axes.grid(alpha=0.3)
    panels[-1].set_xlabel("minutes; grey: warming up, not judged; upright lines: bundle swaps")
    target = io.BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()
