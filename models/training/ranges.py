"""How large the values get that a ranker's experts read and give: what 8 bits have to span."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.networks.aw_moe import AwMoe

FILE = "ranker_ranges.safetensors"
"""In a run's folder."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """The largest absolute values met, of K experts with layers of f and g units over i inputs."""

    inputs: Tensor
    """[i], in the order of `models.networks.aw_moe.Ranked.shared`."""
    first: Tensor
    """[K f]."""
    second: Tensor
    """[K g]."""

    @classmethod
    def of(cls, ranker: AwMoe, shared: Iterable[Tensor]) -> Ranges:
        """Over what the experts read in so many batches, [..., i] each.

        Raises:
            ValueError: there is none.
        """
        found = [_largest(ranker, each.flatten(0, -2)) for each in shared if each.numel()]
        if not found:
            raise ValueError("ranges: no request to measure them by")
        return cls(*(torch.stack(each).amax(0) for each in zip(*found, strict=True)))

    def save(self, folder: Path) -> None:
        """Write `FILE`."""
        save_file({each.name: getattr(self, each.name) for each in fields(self)}, folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Ranges | None:
        """Read `FILE`; None in a run of a time when nothing was measured.

        Raises:
            SafetensorError, TypeError: it is no such file.
        """
        return cls(**load_file(folder / FILE)) if (folder / FILE).is_file() else None


def _largest(ranker: AwMoe, shared: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    experts = ranker.experts
    with torch.no_grad():
        first = F.relu(experts.first(shared))
        grouped = first.view(len(first), experts.experts, -1).transpose(0, 1)
        second = F.relu(grouped @ experts.second + experts.second_bias)
        return shared.abs().amax(0), first.amax(0), second.amax(1).flatten()
