"""The studies of docs/quality.md: towers alone, and what each part of kNN-Embed is worth.

They need the public data sets as `cascada data` converts them, in one folder, beside the wheel obp 0.4.1 and
`cascada data simulate --out simulated --users 2000 --items 200`: `SETS=folder make docs PARTS=studies`.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deploy.demo.processes import cascada
from deploy.docs.blocks import fenced, fill
from deploy.docs.origin import origin

ROOT = Path(__file__).resolve().parents[2]
SETS = "SETS"
"""Stands in an option for the folder of the data sets."""


@dataclass(frozen=True, slots=True)
class Study:
    """A block of the document: `cascada evaluate DATASET --study NAME ...`; `config` "" = the default.

    `variant` tells apart what one study says of one data set under several configurations.
    """

    dataset: str
    name: str
    config: str
    options: tuple[str, ...]
    variant: str = ""

    @property
    def block(self) -> str:
        """The name of the block."""
        return "-".join(filter(None, (self.name, self.dataset, self.variant)))

    def arguments(self, sets: Path) -> tuple[str, ...]:
        """What follows `cascada`."""
        config = ("--config", f"benchmarks/towers/{self.config}.toml") if self.config else ()
        options = (option.replace(SETS, str(sets)) for option in self.options)
        return ("evaluate", str(sets / self.dataset), "--study", self.name, *config, *options)

    def publish(self, told: str) -> None:
        """Write what the command said into the document."""
        shown = " ".join(("$ cascada", *self.arguments(Path("sets"))))
        caption = f"<sub>{origin()}</sub>"
        fill(ROOT / "docs" / "quality.md", self.block, fenced(f"{shown}\n{told}", caption))


THREE = ("--seeds", "0,1,2")
STUDIES = (
    Study("ml-100k", "tower", "ml-100k", THREE),
    Study("ml-latest-small", "tower", "ml-latest-small", THREE),
    Study("amazon-beauty", "tower", "amazon-beauty", ("--seeds", "0")),
    Study("amazon-grocery", "tower", "amazon-grocery", ("--seeds", "0")),
    Study("amazon-grocery", "cold", "amazon-grocery", ("--fit", "final")),
    Study("ml-100k", "cold", "ml-100k-strangers", ("--fit", "final", *THREE)),
    Study("gowalla", "tower", "gowalla", ()),
    Study("ml-latest-small", "knn-embed", "ml-latest-small", ("--fit", "validate", *THREE)),
    Study("hep-th", "knn-embed", "hep-th", ("--fit", "validate", *THREE)),
    Study("gowalla", "knn-embed", "gowalla-knn-embed", ("--fit", "validate", *THREE)),
    Study("ml-latest-small", "sources", "ml-latest-small-sources", ()),
    Study("amazon-beauty", "sources", "amazon-beauty-sources", ()),
    Study("amazon-grocery", "sources", "amazon-grocery-sources", ()),
    Study("ml-latest-small", "hcn", "ml-latest-small-hcn", ("--seeds", "0,1")),
    Study("amazon-beauty", "hcn", "amazon-beauty-hcn", ("--seeds", "0")),
    Study("ml-latest-small", "aw-moe", "ml-latest-small-rankers", THREE),
    Study("amazon-beauty", "aw-moe", "amazon-beauty-rankers", ("--seeds", "0")),
    Study("simulated", "off-policy", "", (*THREE, "--bandit", f"{SETS}/obp-0.4.1-py3-none-any.whl")),
    Study("auctions", "aie", "auctions", THREE),
    Study(
        "auctions-long",
        "calibration",
        "auctions",
        ("--scores", f"{SETS}/ipinyou-scores", "--picture", "docs/calibration.svg"),
    ),
    Study("ipinyou", "market-price", "ipinyou-market-price", THREE),
    Study("ml-latest-small", "search", "ml-latest-small-search", ()),
    Study("ml-latest-small", "search", "ml-latest-small-search-by-time", (), "by-time"),
    Study("amazon-grocery", "relations", "amazon-grocery-relations", ("--fit", "final")),
)


def studies() -> None:
    """Run all of them; two hours on two cores.

    Raises:
        KeyError: SETS does not say where the data sets are.
        subprocess.CalledProcessError: a study failed.
    """
    sets = Path(os.environ["SETS"])
    for study in STUDIES:
        command = cascada(*study.arguments(sets))
        study.publish(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout)


CHECKED = "ml-latest-small"
"""The data set on which a bundle's calibration is checked."""


def calibration() -> None:
    """Check the click probabilities of the bundle that BUNDLE names, on its data set below SETS.

    Raises:
        KeyError: SETS or BUNDLE is not set.
        subprocess.CalledProcessError: the evaluation failed.
    """
    options = (str(Path(os.environ["SETS"]) / CHECKED), "--bundle", os.environ["BUNDLE"], "--calibration")
    command = cascada("evaluate", *options)
    publish_calibration(
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    )


def publish_calibration(told: str) -> None:
    """Write what the command said into the document."""
    shown = f"$ cascada evaluate sets/{CHECKED} --bundle bundles/{CHECKED} --calibration"
    fill(
        ROOT / "docs" / "quality.md",
        "calibration-check",
        fenced(f"{shown}\n{told}", f"<sub>{origin()}</sub>"),
    )
