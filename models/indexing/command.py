"""`cascada index`: build the vector index of a run or a bundle, or tune it to a recall."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from models import artifacts
from models.artifacts import BundleError
from models.indexing.place import place, scratch_of
from models.indexing.source import IndexSource
from retrieval.exact import RECALL_AT
from retrieval.index import KINDS
from retrieval.index_card import IndexCard, MissedRecall, Recall
from retrieval.index_settings import IndexSettings

DEFAULT_RECALL = 0.95


def main(argv: list[str]) -> int:
    """Run `cascada index ARGV`; 0 on success, 2 on bad input or a recall that is not reached, in one line."""
    arguments = _parser().parse_args(argv)
    try:
        lines = arguments.run(IndexSource.open(arguments.folder), arguments)
    except (BundleError, MissedRecall, ValueError, OSError) as error:
        print(f"cascada index: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


def build(source: IndexSource, arguments: argparse.Namespace) -> list[str]:
    """Build one index, measure it and put it in place; says what it is.

    Raises:
        NotFinite: an item's vector is not finite; names the item.
        MissedRecall: the folder is a bundle and the index finds less than `--recall`.
    """
    given = {name: getattr(arguments, name) for name in _NUMBERS if getattr(arguments, name) is not None}
    settings = IndexSettings(arguments.kind, **given).resolved(len(source.vectors))
    index = source.build(settings, arguments.seed, threads=arguments.threads)
    reached = source.measure(index, Recall(arguments.recall, k=arguments.k), threads=arguments.threads)
    card = IndexCard.of(index, settings, reached, source.schema_hash)
    with scratch_of(source.folder) as scratch:
        path = scratch / artifacts.INDEX
        index.save(path)
        target = place(source, path, card, None, datetime.now(UTC))
    lines = [f"built {index.kind} of {index.size:,} vectors; {_reached(card)}", f"wrote it to {target}"]
    if reached.measured is not None and reached.measured < reached.stated:
        lines.append(f"cascada export will refuse it: run cascada index tune {target}")
    return lines


def tuned(source: IndexSource, arguments: argparse.Namespace) -> list[str]:
    """Find the cheapest index that reaches `--recall`, put it in place with curve and plot; says what it is.

    Raises:
        MissedRecall: none does; nothing is written.
    """
    from models.indexing.plot import draw
    from models.indexing.tuning import tune, words

    promise = Recall(arguments.recall, k=arguments.k)
    with scratch_of(source.folder) as scratch:
        found = tune(
            source, arguments.kinds, promise, scratch, seed=arguments.seed, threads=arguments.threads
        )
        plot = draw(found.tried, found.chosen, found.card.recall, len(source.vectors))
        target = place(source, found.path, found.card, plot, datetime.now(UTC))
    cheapest = {
        each.settings.kind: each
        for each in sorted(found.tried, key=lambda one: -one.micros)
        if each.passes(promise.stated)
    }
    lines = [
        f"  {each.micros:9.1f} us per query  {each.bytes_per_item:5.0f} B per item  "
        f"recall {each.held_out:.4f}  {words(each.settings)}"
        for each in sorted(cheapest.values(), key=lambda one: one.micros)
    ]
    return [
        f"tried {len(found.tried)} settings; the cheapest of each kind that reaches {promise.stated:g}:",
        *lines,
        f"chose {words(found.chosen.settings)}; {_reached(found.card)}",
        f"wrote it with its curve ({artifacts.INDEX_CARD}, {artifacts.INDEX_PLOT}) to {target}",
    ]


_NUMBERS = {
    "lists": "ivf, half, ivfpq, pq4, sq8: cells; 0 = the clusters if their number suits, else sqrt(items)",
    "probes": "ivf, half, ivfpq, pq4, sq8: cells that a query reads",
    "links": "hnsw: edges per vector",
    "effort": "hnsw: candidates held while building",
    "breadth": "hnsw: candidates held while searching",
    "code_bytes": "ivfpq, pq4: bytes of a code; 0 = half the dimension",
    "refine": "ivfpq, pq4: so many times k candidates are scored exactly",
}


def _reached(card: IndexCard) -> str:
    recall = card.recall
    if recall.measured is None:
        return "recall unknown: the snapshot has no users to ask for"
    return f"recall@{recall.k} {recall.measured:.4f} of {recall.stated:g} stated, {recall.queries:,} queries"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cascada index", description="Build or tune the vector index.")
    verbs = parser.add_subparsers(required=True, metavar="build | tune")
    for name, run, text in (("build", build, "build one index"), ("tune", tuned, "find the cheapest index")):
        verb = verbs.add_parser(
            name,
            help=text,
            description=f"{text}; a run is changed in place, a bundle becomes a new version beside it.",
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        verb.set_defaults(run=run)
        verb.add_argument("folder", type=Path, metavar="RUN_OR_BUNDLE")
        verb.add_argument(
            "--recall", type=_share, default=DEFAULT_RECALL, help="share of the exact best that is stated"
        )
        verb.add_argument("--k", type=_positive, default=RECALL_AT, help="how many of the best that is about")
        verb.add_argument("--seed", type=int, default=0, help="of the k-means that make cells and codes")
        verb.add_argument(
            "--threads", type=_positive, default=1, help="threads that build; searches are timed on one"
        )
        if run is build:
            verb.add_argument("--kind", choices=["auto", *KINDS], default="auto", help="which index")
            for number, meaning in _NUMBERS.items():
                verb.add_argument(f"--{number.replace('_', '-')}", type=_natural, help=meaning)
        else:
            verb.add_argument(
                "--kinds", type=_kinds, default=",".join(KINDS), help="kinds to try, comma-separated"
            )
    return parser


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and up to 1")
    return value


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


def _kinds(text: str) -> list[str]:
    kinds = [each.strip() for each in text.split(",")]
    if unknown := [each for each in kinds if each not in KINDS]:
        raise argparse.ArgumentTypeError(f"unknown kind {unknown[0]!r}; known are {', '.join(KINDS)}")
    return kinds
