"""What the study of calibrators found, as Markdown and as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from models.studies.calibration import RAW
from service.replay.table import table

Found = Mapping[str, Any]

ECE_GOAL = 0.01
COPC_GOAL = (0.97, 1.03)


def tell_calibration(found: Found) -> str:
    """A table per log, the simulated one by placement, too, and what was reached."""
    parts = []
    for seed, trial in zip(found["seeds"], found["trials"], strict=True):
        title = f"{found['dataset']}, {found['impressions']:,} impressions, seed {seed}"
        parts += [_title(title, trial), _methods(trial), _places(trial), _verdict(trial)]
    for name, log in found["logs"].items():
        parts += [_title(name, log), _methods(log), _holds(log)]
    parts.append(
        "COPC is predicted over observed clicks with its 95% interval (Poisson, by Byar's approximation)."
    )
    return "\n\n".join(parts)


def draw_calibration(found: Found, form: str) -> bytes:
    """Reliability plots, one per log: bins of equal mass, what was observed in them with Wilson's 95%."""
    from matplotlib.figure import Figure

    logs = {found["dataset"]: found["trials"][0], **found["logs"]}
    figure = Figure(figsize=(4.5 * len(logs), 4.5), dpi=100, layout="constrained")
    for number, (name, log) in enumerate(logs.items(), 1):
        axes = figure.add_subplot(1, len(logs), number)
        ends: list[float] = []
        for method, bins in log["curves"].items():
            x, y = ([one[key] for one in bins] for key in ("predicted", "observed"))
            low = [max(0.0, one["observed"] - one["low"]) for one in bins]
            high = [max(0.0, one["high"] - one["observed"]) for one in bins]
            axes.errorbar(x, y, [low, high], fmt="o-", markersize=3, linewidth=1, capsize=2, label=method)
            ends += [*x, *(value for value in y if value > 0)]
        axes.plot([min(ends), max(ends)], [min(ends), max(ends)], "--", color="0.5", linewidth=1)
        axes.set_xscale("log")
        axes.set_yscale("log", nonpositive="clip")
        axes.set_xlabel("predicted click rate")
        axes.set_ylabel("observed click rate")
        axes.set_title(name)
        axes.grid(alpha=0.3)
        axes.legend()
    target = io.BytesIO()
    figure.savefig(target, format=form, metadata={"Date": None} if form == "svg" else None)
    return target.getvalue()


def _title(name: str, log: Found) -> str:
    samples, clicks = log["samples"], log["clicks"]
    own = ", ".join(f"{place} {kind}" for place, kind in log["placements"].items())
    return (
        f"{name}: calibrated on {samples['older']:,} impressions ({clicks['older']:,.0f} clicks), judged on "
        f"the {samples['newest']:,} after them ({clicks['newest']:,.0f} clicks). Chosen: {log['chosen']}"
        + (f"; of their own: {own}." if own else ".")
    )


def _methods(log: Found) -> str:
    rows = [
        [
            method,
            f"{line['log loss']:.6f}",
            "" if method == RAW else f"{line['log loss above raw']:+.6f} ± {1.96 * line['error']:.6f}",
            f"{line['ECE']:.5f}",
            f"{line['COPC']:.3f} ({line['COPC low']:.3f} to {line['COPC high']:.3f})",
        ]
        for method, line in log["methods"].items()
    ]
    return table(("calibrator", "log loss", "above the raw score's", "ECE", "COPC"), rows)


def _places(log: Found) -> str:
    places = log["by placement"]
    methods = list(next(iter(places.values()))) if places else []
    rows = [
        [place, *(f"{one[0]:.3f} ({one[1]:.3f} to {one[2]:.3f})" for one in (by[name] for name in methods))]
        for place, by in places.items()
    ]
    return table(("COPC at placement", *methods), rows)


def _verdict(log: Found) -> str:
    line = _chosen(log)
    within = COPC_GOAL[0] <= line["COPC"] <= COPC_GOAL[1]
    return (
        f"ECE at most {ECE_GOAL}: {_word(line['ECE'] <= ECE_GOAL)}. "
        f"COPC in {COPC_GOAL[0]} to {COPC_GOAL[1]}: {_word(within)}."
    )


def _holds(log: Found) -> str:
    line = _chosen(log)
    holds = line["COPC low"] <= 1 <= line["COPC high"]
    worse = line["log loss above raw"] > 0
    loss = f"Log loss no worse than the raw score's: {_word(not worse)}."
    return f"COPC's interval holds 1: {_word(holds)}. {loss}"


def _chosen(log: Found) -> Found:
    methods: Found = log["methods"]
    chosen: Found = list(methods.values())[-1]
    return chosen


def _word(reached: bool) -> str:
    return "reached" if reached else "missed"
