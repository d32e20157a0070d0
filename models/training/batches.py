"""Histories and profiles as tensors, and the loop that every training step shares."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from models.encode import History

CLIP = 5.0
_SEQUENCES = ("rows", "kind", "gap", "age", "recent", "mask")


@dataclass(frozen=True, slots=True)
class Batch:
    """A `History` as tensors, all [B, T], with the users' profiles [B, P]; `rows` are int64 for a gather."""

    rows: Tensor
    kind: Tensor
    gap: Tensor
    age: Tensor
    recent: Tensor
    mask: Tensor
    profile: Tensor

    @classmethod
    def of(cls, history: History, profile: np.ndarray) -> Batch:
        """Share the memory of numpy arrays where the type allows."""
        return cls(
            torch.from_numpy(history.rows.astype(np.int64)),
            torch.from_numpy(history.kind),
            torch.from_numpy(history.gap),
            torch.from_numpy(history.age),
            torch.from_numpy(history.recent),
            torch.from_numpy(history.mask),
            torch.from_numpy(np.ascontiguousarray(profile)),
        )

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, index: Tensor) -> Batch:
        """The rows at `index`."""
        return Batch(*(getattr(self, name)[index] for name in self.__slots__))

    def shortened(self, start: int) -> Batch:
        """Columns from `start` on."""
        return replace(self, **{name: getattr(self, name)[:, start:] for name in _SEQUENCES})

    def events(self, table: Tensor) -> Tensor:
        """Item vectors of the events, 0 at pads: [B, T, d + 1]."""
        return F.embedding(self.rows, table) * self.mask.unsqueeze(-1)


def shuffled(count: int, size: int, generator: torch.Generator, at_most: int | None = None) -> list[Tensor]:
    """One epoch's batches of indices: a random order of `count`, cut to `at_most`."""
    order = torch.randperm(count, generator=generator)[: at_most or count]
    return list(order.split(size))


def first_used(used: Tensor) -> int:
    """The first column of `used` [B, T] that is true anywhere; the last one if none is."""
    columns = used.any(0)
    return int(columns.to(torch.int64).argmax()) if bool(columns.any()) else used.shape[1] - 1


def by_length(lengths: Tensor, size: int, generator: torch.Generator, pool: int = 20) -> list[Tensor]:
    """One epoch's batches in which histories are about equally long, so that little of a batch is padding.

    The order is random; within each `pool` batches of it indices are sorted by length, then batches mixed.
    """
    batches: list[Tensor] = []
    for part in torch.randperm(len(lengths), generator=generator).split(size * pool):
        batches.extend(part[lengths[part].argsort(stable=True)].split(size))
    return [batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()]


def in_blocks(count: int, size: int) -> Iterator[slice]:
    """Consecutive slices that cover `count`."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train."""

    epochs: int
    learning_rate: float
    weight_decay: float = 0.0


def fit(
    label: str,
    parameters: list[nn.Parameter],
    schedule: Schedule,
    batches: Callable[[int], list[Tensor]],
    loss: Callable[[Tensor], Tensor],
    after_epoch: Callable[[int], str] = lambda epoch: "",
) -> list[float]:
    """Minimise `loss(batch indices)` by AdamW with a one-cycle rate; the mean loss of each epoch.

    `batches(epoch)` gives an epoch's indices; every epoch must give equally many. `after_epoch` returns words
    for the progress bar.
    """
    first = batches(0)
    optimiser = torch.optim.AdamW(parameters, lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
    steps = schedule.epochs * len(first)
    cycle = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: one_cycle(step, steps))
    history = []
    with tqdm(total=steps, desc=label, unit="step", disable=None) as bar:
        for epoch in range(schedule.epochs):
            total = 0.0
            epoch_batches = first if epoch == 0 else batches(epoch)
            for index in epoch_batches:
                optimiser.zero_grad()
                value = loss(index)
                value.backward()
                nn.utils.clip_grad_norm_(parameters, CLIP)
                optimiser.step()
                cycle.step()
                total += value.item()
                bar.update()
            history.append(total / len(epoch_batches))
            bar.set_postfix_str(f"loss {history[-1]:.3f} {after_epoch(epoch)}")
    return history


def one_cycle(step: int, steps: int) -> float:
    """Share of the full learning rate at a step: a linear rise over a tenth, then a half cosine to 0."""
    rise = max(steps // 10, 1)
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * min((step - rise) / max(steps - rise, 1), 1.0)))
