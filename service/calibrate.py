"""`cascada calibrate`: refit the calibrator of a bundle on newer impressions, as a new version beside it.

The impressions of a data set (`cascada impressions` makes them of a service's logs) say with which click
probability each item was answered, by which bundle, and whether it was clicked. The bundle's own calibrator,
turned round, gives back the ranker's logit; a calibrator is chosen and fitted on these as training does. The
new version differs in that file alone, and keeps the former calibrator as `previous`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import artifacts
from models.artifacts import (
    BundleError,
    FileEntry,
    Manifest,
    atomic_folder,
    sha256_file,
    write_json,
    write_manifest,
)
from ranking.calibration import Calibration, Calibrator, calibrators
from ranking.choosing import LATER, Samples, fit_calibration
from ranking.reliability import calibration_error, copc_interval, losses
from service.auction.trust import inverse
from service.bundle import Bundle
from service.errors import OperatorError

LEAST_CLICKS = 200
"""Fewer, or fewer impressions without a click, say too little about a curve (our choice)."""
_GRID = np.linspace(-12.0, 12.0, 481)
_LEAST_RISE = 0.05
"""A calibrator whose log-odds rise by less over the middle of the logits says that they tell nothing."""
_SURE = 1.645
"""By so many standard errors of the paired difference a refit has to be better: one side of 95%."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fitness:
    """How well a calibrator does on impressions: mean log loss, ECE, and COPC with its 95% interval."""

    log_loss: float
    ece: float
    copc: float
    copc_low: float
    copc_high: float


@dataclass(frozen=True, slots=True)
class Refit:
    """A calibration with the former one as `previous`, and what both are worth on the newest impressions.

    `new` is of the same kind fitted on the older ones alone, so that it was judged on what it had not seen.
    """

    calibration: Calibration
    impressions: int
    clicks: int
    former: Fitness
    new: Fitness


def main(argv: list[str]) -> int:
    """Run `cascada calibrate ARGV`; 0 on success, 2 on bad input, in one line."""
    arguments = _parser().parse_args(argv)
    try:
        bundle = Bundle.open(arguments.bundle)
        samples = read_samples(arguments.dataset, bundle)
        found = refit(samples, bundle.calibrator, arguments.kind, arguments.least_clicks)
        written = write_version(bundle, found, arguments.out or arguments.bundle.parent, datetime.now(UTC))
        Bundle.open(written)
    except (BundleError, OperatorError, OSError) as error:
        print(f"cascada calibrate: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(_told(found, written))
    return 0


def read_samples(folder: Path, bundle: Bundle) -> Samples:
    """The impressions of a data set that this bundle answered, by time, at the logits of its ranker.

    Raises:
        OperatorError: the data set cannot be read, or has no impressions of this bundle.
    """
    # Only offline verbs read data sets, when they are called: see the import contracts.
    from models.data.dataset import load_dataset
    from models.data.problems import DataError

    try:
        dataset = load_dataset(folder)
    except DataError as error:
        raise OperatorError(str(error)) from error
    shown = dataset.impressions
    if shown is None or shown.pctr is None or shown.bundle is None:
        what = "no impressions" if shown is None else "impressions without `pctr` or `bundle_version`"
        raise OperatorError(f"{folder}: {what}; `cascada impressions` makes them of a service's logs")
    version = bundle.version
    names = shown.bundle_versions
    mine = shown.bundle == (names.index(version) if version in names else -1)
    if not mine.any():
        known = ", ".join(sorted(filter(None, names))) or "none"
        raise OperatorError(
            f"{folder}: no impression was answered by bundle {version}; the versions there are {known}"
        )
    rows = np.flatnonzero(mine & (shown.pctr > 0) & (shown.pctr < 1))
    where = np.full(len(rows), "default")
    if shown.placement is not None:
        where = np.array(dataset.placements)[shown.placement[rows]]
    logits = np.zeros(len(rows))
    for name in np.unique(where).tolist():
        here = where == name
        logits[here] = inverse(bundle.calibrator.at(name), shown.pctr[rows][here].astype(np.float64))
    return Samples(logits, shown.clicked[rows].astype(np.float64), where)


def refit(
    samples: Samples, former: Calibration, kind: str = "auto", least_clicks: int = LEAST_CLICKS
) -> Refit:
    """The calibration of samples in order of time.

    Raises:
        OperatorError: there are too few clicks, clicks do not rise with the logits, or the former calibrator
            is as good on the newest samples.
    """
    clicks = int(samples.labels.sum())
    older, newest = samples.cut(round(len(samples) * (1 - LATER)))
    if clicks < least_clicks or len(samples) - clicks < least_clicks or not newest.labels.any():
        raise OperatorError(
            f"{clicks:,} clicks of {len(samples):,} impressions are too few: {least_clicks:,} with a click "
            f"and as many without are needed, some of them among the newest {LATER:.0%}"
        )
    kinds = sorted(calibrators) if kind == "auto" else [kind]
    calibration, _ = fit_calibration(samples, kinds)
    middle = np.quantile(samples.logits, [0.1, 0.9])
    check_rises(calibration, middle)
    theirs = newest.calibrated(former)
    ours = calibrators[calibration.kind].fit(older.logits, older.labels)(newest.logits)
    before, after = fitness(newest, theirs), fitness(newest, ours)
    gain = losses(newest.labels, theirs) - losses(newest.labels, ours)
    if gain.mean() <= _SURE * gain.std() / np.sqrt(len(gain)):
        raise OperatorError(
            f"the calibrator in the bundle is as good on the newest {len(newest):,} impressions (log loss "
            f"{before.log_loss:.5f}, refitted {after.log_loss:.5f}); nothing was written"
        )
    kept = replace(former, previous=None)
    return Refit(replace(calibration, previous=kept), len(samples), clicks, before, after)


def check_rises(calibration: Calibration, middle: Doubles) -> None:
    """Refuse a calibrator that does not rise, is not finite, or is flat over the `middle` [2] of the logits.

    Raises:
        OperatorError: names the placement.
    """
    named: dict[str, Calibrator] = {"the common one": calibration.common, **calibration.placements}
    for name, one in named.items():
        chances = one(_GRID)
        if not np.isfinite(chances).all() or (np.diff(chances) < 0).any():
            raise OperatorError(f"calibrator of {name}: it does not rise with the ranker's logits")
        low, high = one(middle)
        rise = float(np.log(high / (1 - high)) - np.log(low / (1 - low)))
        if middle[1] > middle[0] and rise < _LEAST_RISE:
            raise OperatorError(
                f"calibrator of {name}: clicks do not rise with the ranker's logits, so no curve makes "
                "them honest; are clicks sent with the request_id of their answer?"
            )


def fitness(samples: Samples, chances: Doubles) -> Fitness:
    """How well probabilities [n] do on samples."""
    copc = copc_interval(float(chances.sum()), float(samples.labels.sum()))
    loss = float(losses(samples.labels, chances).mean())
    return Fitness(loss, calibration_error(samples.labels, chances), copc.value, copc.low, copc.high)


def write_version(bundle: Bundle, found: Refit, bundles: Path, now: datetime) -> Path:
    """Write the bundle with another calibrator, whole or not at all; its folder, named by its version.

    Raises:
        OperatorError: that version exists already.
        BundleError: a file changed since the bundle was opened.
    """
    manifest = bundle.manifest
    version = f"{now:%Y%m%dT%H%M%SZ}-{_stem(manifest.version)}-calibrated"
    try:
        with atomic_folder(bundles / version) as temporary:
            shutil.copytree(bundle.folder, temporary, dirs_exist_ok=True)
            write_json(temporary / artifacts.CALIBRATOR, found.calibration.to_json())
            (temporary / artifacts.MANIFEST).unlink()
            write_manifest(temporary, _manifest(manifest, temporary, version, found, now))
            artifacts.verify(temporary)
    except FileExistsError as error:
        raise OperatorError(str(error)) from error
    return bundles / version


def _manifest(before: Manifest, folder: Path, version: str, found: Refit, now: datetime) -> Manifest:
    """What is new of the manifest; hashes of the other files are kept, so that a bad copy shows."""
    path = folder / artifacts.CALIBRATOR
    entry = FileEntry(sha256_file(path), path.stat().st_size)
    told: dict[str, Any] = {
        "of": before.version,
        "kind": found.calibration.kind,
        "impressions": found.impressions,
        "clicks": found.clicks,
        "former on the newest": asdict(found.former),
        "new on the newest": asdict(found.new),
    }
    return replace(
        before,
        version=version,
        created=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        files={**before.files, artifacts.CALIBRATOR: entry},
        training={**before.training, "calibrated": told},
    )


def _stem(version: str) -> str:
    """The part of a version that says of which export it is."""
    return version.removesuffix("-calibrated").rpartition("Z-")[2][:60]


def _told(found: Refit, written: Path) -> str:
    rows = [("former", found.former), ("new", found.new)]
    lines = [
        f"{name:<7} log loss {one.log_loss:.5f}, ECE {one.ece:.5f}, "
        f"COPC {one.copc:.3f} ({one.copc_low:.3f} to {one.copc_high:.3f})"
        for name, one in rows
    ]
    own = ", ".join(found.calibration.placements) or "no placement"
    return "\n".join(
        [
            f"{found.impressions:,} impressions, {found.clicks:,} clicks; on the newest {LATER:.0%}:",
            *lines,
            f"wrote {written}: {found.calibration.kind}; {own} has one of its own",
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cascada calibrate", description=__doc__)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the bundle that answered")
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="a data set with impressions")
    parser.add_argument("--out", type=Path, metavar="BUNDLES", help="folder of bundles (that of BUNDLE)")
    parser.add_argument(
        "--kind", choices=["auto", *sorted(calibrators)], default="auto", help="(%(default)s)"
    )
    parser.add_argument(
        "--least-clicks", type=int, default=LEAST_CLICKS, help="fewer are refused (%(default)s)"
    )
    return parser
