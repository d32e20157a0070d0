"""Item tower: an item's id and content become one vector and one bias."""

from __future__ import annotations

import scipy.sparse
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.encode import total_size, total_width
from models.networks.sparse import SparseMatrix, token_bags
from models.schema import Schema

ITEM_SPREAD = 0.05
CONTENT_SPREAD = 0.02


class ItemTower(nn.Module):
    """Shapes: n items, m of them known to training, W content tokens, d dimension.

    vector = normalise(id embedding + content), bias = id bias + content bias; the row [vector, bias] is what
    the index holds, so that popularity is not lost to the normalisation (our choice). Without `unit_length`
    the sum keeps its length: it then also says how much an item's direction is to be trusted. In training the
    id is dropped at random with `id_dropout`, so that content alone can place a new item.

    With a `graph` [m, m] (rows that sum to 1) and a share, an item's id embedding is mixed with those of its
    neighbours before all that: one step of graph propagation (LightGCN's idea, arXiv 2002.02126, on an
    item-to-item graph).
    """

    tokens: Tensor

    def __init__(
        self,
        schema: Schema,
        tokens: Tensor,
        dim: int,
        id_dropout: float,
        unit_length: bool = True,
        graph: scipy.sparse.csr_matrix | None = None,
        graph_share: float = 0.0,
    ) -> None:
        super().__init__()
        self.widths = [field.width for field in schema.item_fields] or [total_width(schema.item_fields)]
        self.dim = dim
        self.id_dropout = id_dropout
        self.unit_length = unit_length
        self.register_buffer("tokens", tokens, persistent=False)
        self.id = nn.Embedding(len(tokens), dim)
        self.id_bias = nn.Embedding(len(tokens), 1)
        self.content = nn.Embedding(total_size(schema.item_fields), dim, padding_idx=0)
        self.content_bias = nn.Linear(dim, 1)
        nn.init.normal_(self.id.weight, std=ITEM_SPREAD)
        nn.init.zeros_(self.id_bias.weight)
        nn.init.normal_(self.content.weight, std=CONTENT_SPREAD)
        nn.init.zeros_(self.content.weight[0])
        nn.init.zeros_(self.content_bias.weight)
        nn.init.zeros_(self.content_bias.bias)
        self._scale = 1.0 / (ITEM_SPREAD * dim**0.5)
        self._bags = SparseMatrix(token_bags(tokens.numpy(), self.widths, len(self.content.weight)))
        self._graph = None if graph is None or graph_share == 0 else _mixing(graph, graph_share)

    def all(self) -> Tensor:
        """Every item of the catalogue: [m, d + 1]."""
        identity, bias = self.identities(), self.id_bias.weight
        if self.training and self.id_dropout > 0:
            keep = (torch.rand_like(bias) >= self.id_dropout).float()
            identity, bias = identity * keep, bias * keep
        return self._join(identity, bias, self._bags @ self.content.weight)

    def identities(self) -> Tensor:
        """What an item is beside its content, after the propagation: [m, d]."""
        return self.id.weight if self._graph is None else self._graph @ self.id.weight

    def settle(self, known: Tensor) -> None:
        """After training: make the propagation part of the id embeddings, so that there is no graph any more.

        Items that are not `known` [m] to training have only content from then on, as `new` ones: nothing has
        moved their id from its random start but being taken for a negative.
        """
        with torch.no_grad():
            self.id.weight.copy_(self.identities() * known[:, None])
            self.id_bias.weight.mul_(known[:, None])
        self._graph = None

    def start_from(self, other: ItemTower) -> None:
        """Become `other`, or, where it has more dimensions, its projection on the leading directions of its
        vectors: what of their inner products so few dimensions can hold."""
        with torch.no_grad():
            onto = torch.eye(other.dim, self.dim)
            if self.dim < other.dim:
                _, _, directions = torch.linalg.svd(other.all()[:, :-1], full_matrices=False)
                leading = directions[: self.dim].T
                onto = F.pad(leading, (0, self.dim - leading.shape[1]))
            self.id.weight.copy_(other.id.weight @ onto)
            self.content.weight.copy_(other.content.weight @ onto)
            self.content_bias.weight.copy_(other.content_bias.weight @ onto)
            self.content_bias.bias.copy_(other.content_bias.bias)
            self.id_bias.weight.copy_(other.id_bias.weight)

    def view(self, tokens: Tensor, keep: Tensor) -> Tensor:
        """Unit vectors of `tokens` [n, W] from the fields where `keep` [F] is 1: [n, d], 0 without any."""
        return F.normalize(self._content(tokens, keep), dim=-1)

    def new(self, tokens: Tensor) -> Tensor:
        """Items that training never saw, from `tokens` [n, W] alone: [n, d + 1]."""
        identity = torch.zeros(1, self.id.embedding_dim, device=tokens.device)
        return self._join(identity, torch.zeros(1, 1), self._content(tokens))

    def _join(self, identity: Tensor, bias: Tensor, content: Tensor) -> Tensor:
        vector = identity + content
        # A random or spectral start has components of ITEM_SPREAD: bring its length to about 1.
        vector = F.normalize(vector, dim=-1) if self.unit_length else vector * self._scale
        return torch.cat([vector, bias + self.content_bias(content)], dim=-1)

    def _content(self, tokens: Tensor, keep: Tensor | None = None) -> Tensor:
        """Sum over the fields kept of the mean over a field's tokens, as the bags of `all` do it: [n, d]."""
        parts = []
        for field in tokens.split(self.widths, dim=1):
            present = (field > 0).unsqueeze(-1)
            total = (self.content(field) * present).sum(1)
            parts.append(total / present.sum(1).clamp(min=1))
        fields = torch.stack(parts)
        return fields.sum(0) if keep is None else (fields * keep[:, None, None]).sum(0)


def _mixing(graph: scipy.sparse.csr_matrix, share: float) -> SparseMatrix:
    """(1 - share) I + share G; an item without neighbours keeps all of itself."""
    linked = share * (graph.getnnz(axis=1) > 0)
    own = scipy.sparse.diags(1.0 - linked)
    return SparseMatrix((own + share * graph).tocsr())
