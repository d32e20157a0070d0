"""The final lists of docs/quality.md: a whole cascade trained, exported and replayed, per data set.

They need the public data sets as `cascada data` converts them, in one folder: `SETS=folder make docs
PARTS=cascades`.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deploy.demo.processes import cascada
from deploy.docs.blocks import fenced, fill
from deploy.docs.origin import origin

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Whole:
    """A block of the document: the cascade of benchmarks/cascades/DATASET.toml, judged on the data set."""

    dataset: str
    options: tuple[str, ...] = ()

    @property
    def block(self) -> str:
        """The name of the block."""
        return f"cascade-{self.dataset}"

    @property
    def config(self) -> str:
        """Seen from the root."""
        return f"benchmarks/cascades/{self.dataset}.toml"

    def publish(self, told: str) -> None:
        """Write what the evaluation said into the document, below the commands that led to it."""
        data = f"sets/{self.dataset}"
        shown = [
            f"$ cascada train {data} --out run --config {self.config}",
            "$ cascada export run --out bundles",
            " ".join(("$ cascada evaluate", data, "--bundle bundles", *self.options)),
        ]
        fill(
            ROOT / "docs" / "quality.md",
            self.block,
            fenced("\n".join([*shown, told]), f"<sub>{origin()}</sub>"),
        )

    def run(self, sets: Path) -> str:
        """Train, export and replay.

        Raises:
            subprocess.CalledProcessError: a step failed.
        """
        data = sets / self.dataset
        with tempfile.TemporaryDirectory() as folder:
            run, bundles = Path(folder) / "run", Path(folder) / "bundles"
            subprocess.run(
                cascada("train", data, "--out", run, "--config", self.config), cwd=ROOT, check=True
            )
            subprocess.run(cascada("export", run, "--out", bundles), cwd=ROOT, check=True)
            command = cascada("evaluate", data, "--bundle", bundles, *self.options)
            return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


CHEAP = ("--baselines", "popularity,item-kNN")
"""On large catalogues the others take longer to tune than the cascade to train."""
CASCADES = (
    Whole("ml-latest-small"),
    Whole("amazon-beauty", ("--requests", "8000", *CHEAP)),
    Whole("amazon-grocery", CHEAP),
)


def cascades() -> None:
    """Run all of them; an hour on two cores.

    Raises:
        KeyError: SETS does not say where the data sets are.
        subprocess.CalledProcessError: a step failed.
    """
    sets = Path(os.environ["SETS"]).resolve()
    for each in CASCADES:
        each.publish(each.run(sets))
