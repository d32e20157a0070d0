"""`cascada train`: train every stage on a canonical data set."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from models.data.dataset import load_dataset
from models.data.problems import DataError
from models.training.config import ConfigError, load_config
from models.training.run import Trained, train
from models.training.run_folder import write_run


def main(argv: list[str]) -> int:
    """Train; 0 on success, 2 on bad input with one line on stderr."""
    parser = argparse.ArgumentParser(prog="cascada train", description="Train every stage of the cascade.")
    parser.add_argument("dataset", type=Path, help="folder of a canonical data set (see cascada data)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; must not exist")
    parser.add_argument("--config", type=Path, help="TOML file (docs/training.md lists the keys)")
    parser.add_argument("--seed", type=int, help="overrides the configuration's seed")
    arguments = parser.parse_args(argv)
    try:
        if arguments.out.exists():
            raise FileExistsError(f"{arguments.out} exists already; remove it or choose another name")
        config = load_config(arguments.config)
        if arguments.seed is not None:
            config = config.model_copy(update={"seed": arguments.seed})
        trained = train(load_dataset(arguments.dataset), config)
        write_run(arguments.out, trained)
    except (ConfigError, DataError, FileExistsError, ValueError, OSError) as error:
        print(f"cascada train: {error}", file=sys.stderr)
        return 2
    report(trained)
    print(f"wrote the run to {arguments.out}")
    return 0


def report(trained: Trained) -> None:
    """Print what validation says of each stage, and where the time went."""
    print(f"validation of {trained.dataset.name}, seed {trained.config.seed}")
    for name, value in trained.metrics["validation"].items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {each:.4f}" for key, each in value.items())
        print(f"  {name:24} {value:.4f}" if isinstance(value, float) else f"  {name:24} {value}")
    print(f"  {'width':24} {trained.plan.candidates} candidates -> {trained.plan.ranked} ranked")
    print("seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in trained.seconds.items()))
