"""`cascada evaluate`: replay the test period of a data set through a bundle's cascade."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from pydantic import TypeAdapter

from models import artifacts
from models.artifacts import BundleError, write_bytes, write_json
from models.data.dataset import load_dataset
from models.data.problems import DataError
from models.plan import Plan
from models.studies import towers
from models.training.config import ConfigError, SplitConfig, load_config
from models.training.held_out import held_out
from models.training.names import check_names
from models.training.timeline import Timeline
from service.bundle import Bundle
from service.bundles import list_bundles
from service.cascade.observe import NullObserver
from service.cascade.query import Kind
from service.engine import Engine
from service.errors import OperatorError
from service.replay.beyond import Yardstick
from service.replay.calibration_check import judged
from service.replay.calibration_check import tell as tell_check
from service.replay.calibration_tables import draw_calibration
from service.replay.judge import DEFAULT_BASELINES, judge
from service.replay.knob import draw_knob, knob, tell_knob
from service.replay.replay import replay
from service.replay.studies import STUDIES
from service.replay.table import tables

OF_BUNDLES = ("after_last", "against", "calibration", "knob", "picture", "requests")
"""Options that go with a bundle alone."""
SINGLE = "ranker=single"
"""A change that is none of the plan: the ranker in single precision."""


def main(argv: list[str]) -> int:
    """Evaluate; 0 on success, 2 on bad input with one line on stderr."""
    arguments = _arguments(argv)
    try:
        if arguments.study:
            return study(arguments)
        if arguments.calibration:
            found = judged(arguments.dataset, arguments.bundle, arguments.threads)
            print(tell_check(found))
            if arguments.json:
                write_json(arguments.json, found)
            return 0
        found = evaluate(
            arguments.dataset,
            arguments.bundle,
            [name for name in arguments.baselines.split(",") if name],
            arguments.threads,
            after_last=arguments.after_last,
            against=arguments.against,
            most=arguments.requests,
            turn=arguments.knob or arguments.picture is not None,
        )
        if arguments.json:
            write_json(arguments.json, found)
        if arguments.picture:
            form = arguments.picture.suffix.removeprefix(".")
            write_bytes(arguments.picture, draw_knob(found["knob"], form))
    except (BundleError, ConfigError, DataError, OperatorError, ValueError, OSError) as error:
        print(f"cascada evaluate: {error}", file=sys.stderr)
        return 2
    print(
        f"bundle {found['bundle']} on {found['dataset']}, {found['protocol']}, asked {found['asked']}, "
        f"seed {found['seed']}\n"
    )
    print(tables(found))
    if "knob" in found:
        print(f"\n{tell_knob(found['knob'])}")
    return 0


def _arguments(argv: list[str]) -> argparse.Namespace:
    """What was asked for; ends the process with 2 where options do not go together."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.picture and arguments.picture.suffix not in (".png", ".svg"):
        parser.error(f"--picture {arguments.picture}: draws .png and .svg")
    for option in ("config",) if arguments.bundle else OF_BUNDLES:
        if getattr(arguments, option) and (option, arguments.study) != ("picture", "calibration"):
            kind = "study" if arguments.bundle else "bundle"
            parser.error(f"--{option.replace('_', '-')} goes with --{kind}")
    if arguments.bandit and arguments.study != "off-policy":
        parser.error("--bandit goes with --study off-policy")
    if arguments.scores and arguments.study != "calibration":
        parser.error("--scores goes with --study calibration")
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cascada evaluate", description="Replay the test period, stage by stage."
    )
    parser.add_argument("dataset", type=Path, help="the canonical data set that the bundle was trained on")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--bundle", type=Path, help="a bundle, or a folder of bundles (the newest)")
    what.add_argument(
        "--study", choices=sorted(STUDIES), help="train and judge a part by itself, instead of a bundle"
    )
    parser.add_argument("--config", type=Path, help="study: training configuration (TOML)")
    parser.add_argument("--seeds", default="0", help="study: seeds, by commas")
    parser.add_argument(
        "--fit",
        choices=get_args(towers.Fit),
        default="refit",
        help="study: validate = train on the training events, keep the epoch that validation likes best; "
        "refit = then train once more on training and validation events; final = only that last training",
    )
    parser.add_argument(
        "--bandit", type=Path, help="study off-policy: the Open Bandit logs, a folder or the wheel obp 0.4.1"
    )
    parser.add_argument(
        "--scores", type=Path, help="study calibration: a folder of logs, lines `click market_price score`"
    )
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument(
        "--baselines", default=",".join(DEFAULT_BASELINES), help="names, by commas; '' = none"
    )
    parser.add_argument(
        "--after-last",
        action="store_true",
        help="ask right after the user's last known event, not at the time of the test event",
    )
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="bundle: replay under this change of the plan, too, such as own_share=1, and compare the lists; "
        f"{SINGLE} is the ranker in single precision",
    )
    parser.add_argument(
        "--knob", action="store_true", help="bundle: replay along the diversity knob, too, by both methods"
    )
    parser.add_argument(
        "--calibration", action="store_true", help="bundle: judge its click probabilities alone"
    )
    parser.add_argument(
        "--picture",
        type=Path,
        help="bundle: draw the knob (implies --knob), study calibration: reliability; .png or .svg",
    )
    parser.add_argument(
        "--requests", type=int, metavar="N", help="bundle: at most N test requests, evenly spread"
    )
    parser.add_argument("--threads", type=int, default=1)
    return parser


def study(arguments: argparse.Namespace) -> int:
    """Run a study and print its table.

    Raises:
        ConfigError, DataError, ValueError: the configuration, the data set or a seed cannot be used.
    """
    chosen = STUDIES[arguments.study]
    seeds = _seeds(arguments.seeds)
    config = load_config(arguments.config)
    check_names(config)
    more = {"bandit": arguments.bandit} if arguments.bandit else {}
    if arguments.scores:
        more["scores"] = arguments.scores
    if chosen.reads_folder:
        more["folder"] = arguments.dataset
    found = chosen.run(load_dataset(arguments.dataset), config, seeds, fit=arguments.fit, **more)
    # What took hours is told before anything can go wrong with a file.
    print(chosen.tell(found))
    if arguments.json:
        write_json(arguments.json, found)
    if arguments.picture:
        form = arguments.picture.suffix.removeprefix(".")
        write_bytes(arguments.picture, draw_calibration(found, form))
    return 0


def _seeds(text: str) -> list[int]:
    """Whole numbers from 0 up, by commas; spaces do no harm."""
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not (part.isascii() and part.isdigit()):
            raise ValueError(f"--seeds {text!r}: {part!r} is no seed; write whole numbers, such as 0,1,2")
    return [int(part) for part in parts]


def evaluate(
    dataset_folder: Path,
    bundle_folder: Path,
    baselines: list[str],
    threads: int,
    *,
    after_last: bool = False,
    against: Sequence[str] = (),
    turn: bool = False,
    most: int | None = None,
) -> dict[str, Any]:
    """All figures of a bundle on the data set that it was trained on.

    `against` names changes (see `altered`), whose final lists are compared with the bundle's own;
    `turn` replays it along the diversity knob, too; of more than `most` requests so many are asked.

    Raises:
        ValueError: the data set is another one, so that its test events may have been trained on; or a change
            is none.
    """
    if unknown := sorted(set(baselines) - set(DEFAULT_BASELINES)):
        raise ValueError(f"unknown baseline {unknown[0]!r}; known are {', '.join(DEFAULT_BASELINES)}")
    below = list_bundles(bundle_folder)
    bundle = Bundle.open(below[0].folder if below else bundle_folder, threads=threads)
    dataset = load_dataset(dataset_folder)
    trained_on = bundle.manifest.dataset.get("fingerprint")
    if dataset.fingerprint != trained_on:
        raise ValueError(
            f"{dataset_folder}: fingerprint {dataset.fingerprint[:12]}, the bundle was trained on "
            f"{str(trained_on)[:12]}; its test events could be training events"
        )
    training = bundle.manifest.training
    split = SplitConfig.model_validate(training["config"]["split"]).apply(dataset)
    timeline = Timeline(dataset)
    requests = held_out(timeline, split.test, after_last=after_last)
    if most is not None and most < len(requests):
        if most < 2:
            raise ValueError(f"--requests {most}: at least 2 are needed")
        requests = requests.at(np.linspace(0, len(requests) - 1, most).astype(np.int64))
    changes = {change: altered(bundle, change) for change in against}
    if bundle.plan.depth != "rank":
        raise ValueError(f'{bundle.folder}: its plan has depth {bundle.plan.depth!r}; only "rank" is judged')
    engine = Engine.build(bundle, NullObserver())
    replayed = replay(engine, dataset, timeline, requests)
    names = engine.cascades[Kind.RECOMMEND].source_names
    vectors = np.asarray(bundle.item_vectors, np.float32)[:, :-1]
    yardstick = Yardstick.of(dataset, timeline, split, requests, vectors)
    turned = {"knob": knob(bundle, dataset, timeline, requests, yardstick)} if turn else {}
    others = {
        f"final list, {change}": replay(
            Engine.build(other, NullObserver(), plan=plan), dataset, timeline, requests
        )
        for change, (other, plan) in changes.items()
    }
    return {
        "bundle": bundle.version,
        "dataset": dataset.name,
        "asked": "after the last event" if after_last else "at the test event",
        "protocol": training["config"]["split"]["protocol"],
        "seed": training["config"]["seed"],
        "plan": json.loads(json.dumps(bundle.plan.to_json())),
        "training seconds": training["seconds"],
        **judge(replayed, requests, dataset, timeline, split, names, baselines, others, yardstick),
        **turned,
    }


def altered(bundle: Bundle, change: str) -> tuple[Bundle, Plan]:
    """The bundle with its ranker in single precision where the change is `SINGLE`, with a changed plan else.

    Raises:
        ValueError: see `changed`; or the bundle has no graph in single precision, that which explains.
    """
    if change != SINGLE:
        return bundle, changed(bundle.plan, change)
    if bundle.ranker_explain is None:
        raise ValueError(f"--against {SINGLE}: {bundle.folder} has no {artifacts.RANKER_EXPLAIN}")
    return replace(bundle, ranker=bundle.ranker_explain), bundle.plan


def changed(plan: Plan, change: str) -> Plan:
    """The plan with KEY=VALUE, the value in JSON.

    Raises:
        ValueError: no such key, or a value that it cannot have.
    """
    key, _, value = change.partition("=")
    try:
        known = Plan.from_json(plan.to_json() | {key: json.loads(value)}).to_json()
        return TypeAdapter(Plan).validate_python(known)
    except ValueError as error:
        raise ValueError(f"--against {change!r}: {error}") from error
