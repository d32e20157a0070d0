"""The ranker in the form that serving runs, its experts in products of 8-bit numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.export.split_ranker import SplitRanker
from models.networks.aw_moe import AwMoe
from models.training.ranges import Ranges

LARGEST = 63
"""Weights have 7 bits: where a CPU adds two products of 8 bits in 16, the sum of two always fits, so that all
kinds of CPU find the same whole numbers."""
ZERO = 128
"""The place of 0 among what is read, which has both signs; what a layer gives has none."""
ROUNDED = 1e-2
"""Largest relative difference that the graph may have to the same whole numbers in torch: what lies between
two of them is rounded up by one CPU and down by another."""
ROOM = 1.25
"""A scale reaches so much further than the largest value that was met."""
LEAST = 1e-3
"""A range is at least so much of the largest one: what never moved in training still has a scale."""


class EightBitRanker(SplitRanker):
    """A `SplitRanker` whose experts are three layers of 8-bit numbers (our choice).

    The ranges of what a layer reads are those that training measured (`Ranges`), and fixed: an item's logit
    does not depend on the other candidates, as it would with scales that a request makes for itself. Values
    beyond count as the largest. Each input, unit and output has a scale of its own: those of what is read are
    folded into the weights' rows, those of units into the scales by which products become 8-bit numbers
    again. 0 is the least of these, which makes the ReLU free.

    Candidates are rows, as the kernels want constant weights on the right; what the user brings to the first
    layer is a bias, made once per request. A candidate's x [i] is [v, v * h_t, cross, h_t, h_c * h_t].
    """

    def __init__(self, ranker: AwMoe, ranges: Ranges) -> None:
        super().__init__(ranker)
        with torch.no_grad():
            self._round(ranker, ranges)

    def _round(self, ranker: AwMoe, ranges: Ranges) -> None:
        experts, dim = ranker.experts, self.dim
        widths = [dim] * 5 + [len(ranker.cross_mean)]
        # v, h_t, v * h_t, h_c, h_c * h_t, cross
        spans = _spans(ranges.inputs).split(widths)
        parts = experts.first.weight.T.split(widths)
        order = (0, 2, 5, 1, 4)
        step = torch.cat([spans[place] for place in order]) / (ZERO - 1)
        self.steps = _constant(1 / step)
        self.cross_mean, self.cross_scale = _constant(ranker.cross_mean), _constant(1 / ranker.cross_scale)
        units = _spans(ranges.first) / 255, _spans(ranges.second) / 255
        first = torch.cat([parts[place] for place in order])
        self.inner = _Layer(first * step[:, None], None, units[0])
        self.context = _constant(parts[3] / self.inner.weight_steps)
        self.context_bias = _constant(experts.first.bias / self.inner.weight_steps)
        self.middle = nn.ModuleList(
            _Layer(weight * step[:, None], bias[0], given)
            for weight, bias, step, given in zip(
                experts.second,
                experts.second_bias,
                units[0].chunk(self.experts),
                units[1].chunk(self.experts),
                strict=True,
            )
        )
        last = torch.block_diag(*experts.last) * ranker.blend
        self.outer = _Layer(last * units[1][:, None], None, None)

    def _experts(self, pooled: Tensor, target: Tensor, context: Tensor, cross: Tensor) -> Tensor:
        """Scores [K, N]."""
        user = context.T  # 1 d
        pooled, target = pooled.T, target.T
        known = (cross.T - self.cross_mean) * self.cross_scale
        x = torch.cat([pooled, pooled * target, known, target, target * user], dim=1)
        read = _rounded(x * self.steps)
        told = (user @ self.context + self.context_bias)[0].round().to(torch.int32)
        hidden = self.inner(read, ZERO, told)
        parts = hidden.chunk(self.experts, dim=1)
        units = [layer(part) for layer, part in zip(self.middle, parts, strict=True)]
        scores: Tensor = self.outer(torch.cat(units, dim=1)).T
        return scores


class _Layer(nn.Module):
    """Weights [in, out] for inputs in steps of 1; gives 8-bit numbers in steps `given` [out], else floats."""

    def __init__(self, weight: Tensor, bias: Tensor | None, given: Tensor | None) -> None:
        super().__init__()
        self.weight_steps = weight.abs().amax(0).clamp(min=torch.finfo(weight.dtype).tiny) / LARGEST
        self.weight = nn.Buffer((weight / self.weight_steps).round().to(torch.int8))
        self.zeros = nn.Buffer(torch.zeros(weight.shape[1], dtype=torch.int8))
        self.bias = None if bias is None else nn.Buffer((bias / self.weight_steps).round().to(torch.int32))
        self.gives_floats = given is None
        self.scale = _constant(self.weight_steps if given is None else self.weight_steps / given)
        self.one = _constant(torch.ones(()))
        self.least = nn.Buffer(torch.tensor(0, dtype=torch.uint8))
        self.zero = nn.Buffer(torch.tensor(ZERO, dtype=torch.uint8))

    def forward(self, x: Tensor, zero: int = 0, bias: Tensor | None = None) -> Tensor:
        """x [N, in] of 8-bit numbers around `zero`; `bias` [out] is the layer's by default."""
        bias = self.bias if bias is None else bias
        if torch.compiler.is_exporting():
            around = self.zero if zero else self.least
            operands = [x, self.one, around, self.weight, self.scale, self.zeros, bias]
            return torch.onnx.ops.symbolic(
                "com.microsoft::QGemm",
                operands if self.gives_floats else [*operands, self.one, self.least],
                dtype=torch.float32 if self.gives_floats else torch.uint8,
                shape=(x.shape[0], self.weight.shape[1]),
            )
        # Whole numbers of this size are exact in double precision.
        total = (x.double() - zero) @ self.weight.double()
        if bias is not None:
            total = total + bias
        value = total.float() * self.scale
        return value if self.gives_floats else value.round().clamp(0, 255).to(torch.uint8)


def _rounded(x: Tensor) -> Tensor:
    """8-bit numbers around `ZERO`."""
    if torch.compiler.is_exporting():
        return torch.onnx.ops.symbolic(
            "QuantizeLinear",
            [x, torch.ones(()), torch.tensor(ZERO, dtype=torch.uint8)],
            dtype=torch.uint8,
            shape=x.shape,
        )
    return (x.round() + ZERO).clamp(0, 255).to(torch.uint8)


def _spans(largest: Tensor) -> Tensor:
    largest = ROOM * largest
    return largest.clamp(min=max(LEAST * float(largest.max()), torch.finfo(largest.dtype).tiny))


def _constant(values: Tensor) -> nn.Buffer:
    return nn.Buffer(values.clone().contiguous())
