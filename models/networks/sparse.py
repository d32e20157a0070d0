"""A constant sparse matrix times a trained table: how bags of tokens and graphs enter a network."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor


class SparseMatrix:
    """A constant S [n, r]; `S @ table` [n, d] costs its non-zeros times d, forward and backward.

    The gradient is a product with the transpose, which is kept beside it: no scatter, the same on each run.
    """

    def __init__(self, matrix: scipy.sparse.csr_matrix) -> None:
        self.shape: tuple[int, int] = matrix.shape
        self._forward = _tensor(matrix.tocsr())
        self._backward = _tensor(matrix.T.tocsr())

    def __matmul__(self, table: Tensor) -> Tensor:
        """Differentiable in `table` [r, d]."""
        product: Tensor = _Product.apply(table, self._forward, self._backward)  # type: ignore[no-untyped-call]
        return product


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
        ctx.backward_matrix = backward
        return forward @ table

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return ctx.backward_matrix @ gradients[0].contiguous(), None, None


def token_bags(tokens: np.ndarray, widths: list[int], size: int) -> scipy.sparse.csr_matrix:
    """Tokens [n, W] as a matrix [n, size].

    Row i times a table is the sum over fields of the mean of the field's tokens; 0 pads; `widths` are the
    fields' columns.
    """
    rows, columns, values = [], [], []
    start = 0
    for width in widths:
        field = tokens[:, start : start + width]
        row, place = np.nonzero(field)
        count = np.count_nonzero(field, axis=1)
        rows.append(row)
        columns.append(field[row, place])
        values.append(1.0 / count[row])
        start += width
    return scipy.sparse.csr_matrix(
        (np.concatenate(values).astype(np.float32), (np.concatenate(rows), np.concatenate(columns))),
        (len(tokens), size),
    )


def _tensor(matrix: Any) -> Tensor:
    with warnings.catch_warnings():
        # Torch calls its sparse rows a beta; the product that is used here is a plain MKL one.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int64)),
            torch.from_numpy(matrix.indices.astype(np.int64)),
            torch.from_numpy(matrix.data.astype(np.float32)),
            matrix.shape,
            check_invariants=False,
        )
