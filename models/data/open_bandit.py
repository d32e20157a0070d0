"""The Open Bandit logs of ZOZOTOWN (arXiv 2008.07146): one row per place shown, with its propensity.

They are data files of the wheel `obp` (0.4.1 has 10,000 rows of each policy and campaign), read as such: that
package is not needed. Each row is one of three places of a page; the policy `random` shows all items alike,
`bts` is Bernoulli Thompson sampling.
"""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.data.problems import DataError

POLICIES = ("random", "bts")
CAMPAIGNS = ("all", "men", "women")
_INSIDE = "obp/dataset/obd"


@dataclass(frozen=True, slots=True)
class BanditLog:
    """n places that a policy filled, in order of time: `item` [n] from 0, `place` [n] from 0."""

    policy: str
    campaign: str
    item: NDArray[np.int64]
    place: NDArray[np.int64]
    clicked: NDArray[np.bool_]
    propensity: NDArray[np.float64]

    @property
    def items(self) -> int:
        """How many items the campaign has."""
        return int(self.item.max()) + 1


def read_open_bandit(source: Path, policy: str, campaign: str) -> BanditLog:
    """Read one log out of the wheel, or of a folder with POLICY/CAMPAIGN/CAMPAIGN.csv.

    Raises:
        DataError: there is no such log, or a line of it cannot be read.
    """
    name = f"{policy}/{campaign}/{campaign}.csv"
    rows = list(csv.DictReader(io.StringIO(_text(source, name))))
    try:
        return BanditLog(
            policy,
            campaign,
            item=np.array([int(row["item_id"]) for row in rows], np.int64),
            place=np.array([int(row["position"]) - 1 for row in rows], np.int64),
            clicked=np.array([float(row["click"]) > 0 for row in rows], bool),
            propensity=np.array([float(row["propensity_score"]) for row in rows], np.float64),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{source}: {name} is no log of the Open Bandit data: {error!r}") from error


def _text(source: Path, name: str) -> str:
    try:
        if source.is_dir():
            return (source / name).read_text(encoding="utf-8")
        with zipfile.ZipFile(source) as wheel:
            return wheel.read(f"{_INSIDE}/{name}").decode()
    except (OSError, KeyError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise DataError(
            f"{source}: no {name}; give the wheel obp 0.4.1 (pip download --no-deps obp==0.4.1) or a folder "
            f"with POLICY/CAMPAIGN/CAMPAIGN.csv: {error}"
        ) from error
