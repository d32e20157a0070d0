"""Sequence encoders by name. Each is one file and one class behind `SequenceEncoder`."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from models.networks.hstu import HstuEncoder
from models.networks.mean import MeanEncoder
from models.networks.transformer import TransformerEncoder


class SequenceEncoder(Protocol):
    """`(x [B, T, d], mask [B, T] bool) -> [B, T, d]`, causal: position t reads positions <= t under the
    mask.

    A position before the first event yields finite values that nobody reads; padding on the left never
    changes the value at a real position. One that is not `ordered` is a `SetEncoder`, too.
    """

    ordered: bool

    def __init__(self, dim: int, layers: int, heads: int, length: int, dropout: float) -> None: ...

    def __call__(self, x: Tensor, mask: Tensor) -> Tensor:
        """Encode."""

    def whole(self, x: Tensor, mask: Tensor) -> Tensor:
        """The encoding of all events of the row, what the last place of a call has: [B, 1, d]."""


@runtime_checkable
class SetEncoder(Protocol):
    """An encoder of events without order; training asks it for each event from all the others."""

    def others(self, x: Tensor, mask: Tensor) -> Tensor:
        """At each place the encoding of all other events of the row: [B, T, d]."""


ENCODERS: dict[str, type[SequenceEncoder]] = {
    "hstu": HstuEncoder,
    "transformer": TransformerEncoder,
    "mean": MeanEncoder,
}
"""To add one: a file with a class, a line here; the contract suite picks it up."""
