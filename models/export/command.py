"""`cascada export`: turn a training run into a bundle that can be served."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from models.artifacts import BundleError
from models.export.bundle import ParityError, write_bundle
from models.training.run_folder import RunError, read_run
from retrieval.index_card import MissedRecall


def main(argv: list[str]) -> int:
    """Export; 0 on success, 2 on bad input or what cannot be trusted, with one line on stderr."""
    parser = argparse.ArgumentParser(prog="cascada export", description="Write a versioned bundle.")
    parser.add_argument("run", type=Path, help="folder that cascada train wrote")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of bundles; the new one is named by version"
    )
    arguments = parser.parse_args(argv)
    try:
        target = write_bundle(read_run(arguments.run), arguments.out, datetime.now(UTC))
    except (RunError, BundleError, ParityError, MissedRecall, FileExistsError, OSError) as error:
        print(f"cascada export: {error}", file=sys.stderr)
        return 2
    print(f"wrote bundle {target.name} to {target}")
    return 0
