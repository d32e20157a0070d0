"""The pre-ranker's network in the form that serving runs: the same numbers in less than half the nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.hcn import Hcn, InterestExtractor


class FoldedHcn(nn.Module):
    """An `Hcn` in which products of weights are made beforehand (our choice).

    One history is so little work that a graph's time is the number of its nodes. Therefore:

    - long and short term are one batch of G = 2 groups (1 without co-interest);
    - keys and values are never made: x being normalised events, a score is x . (norm(C) Wq Wk^T) and a value
      (share x) Wv, so that K vectors are mapped instead of T, and Wv is one with the layer behind it. The
      first level's queries are constants;
    - scales and shifts of norms are in these matrices, the shifts by a column of ones beside the normalised
      events, `read` [B, 1, T, d + 1], which counts the claims, too. What a shift adds to the scores of all
      centres alike changes none of their shares;
    - of the attention between the terms Wq Wk^T is one matrix per head, and so is Wv Wo.

    Other shapes as of `Hcn`; h is the number of heads.
    """

    def __init__(self, network: Hcn) -> None:
        super().__init__()
        self.interests, self.dim = network.long.seeds.shape
        self.eps, self.temperature = network.norm.eps, network.temperature
        self.co_interest = network.co_interest
        terms = [network.long, network.short] if network.co_interest else [network.long]
        with torch.no_grad():
            self._fold_events(network)
            self._fold_levels(terms)
            if network.co_interest:
                self._fold_attention([network.long_reads, network.short_reads])
            self._fold_mixture(network)

    def _fold_events(self, network: Hcn) -> None:
        event = network.event
        self.item = _kept(event.item.weight.T * event.scale)
        self.kind = _kept(event.kind.weight + event.item.bias)
        self.gap, self.age = (_kept(next(table.parameters())) for table in event.spans)

    def _fold_levels(self, terms: Sequence[InterestExtractor]) -> None:
        self.query = _kept(torch.stack([_query(term) for term in terms]))
        self.update_in, self.update_in_bias = _by_term(terms, _update_in)
        self.update_out, self.update_out_bias = _by_term(
            terms, lambda term: (term.update_out.weight.T, term.update_out.bias)
        )
        seeds = torch.stack([term.seeds for term in terms])
        self.start = _kept(seeds + self.update_out_bias)
        self.first = _kept((self._normed(seeds) @ self.query).transpose(1, 2))
        self.iterations = terms[0].iterations
        self.explained = _by_level(term.explained for term in terms)
        self.level_weight = _by_level(
            None if term.level_weight is None else term.level_weight.softmax(0) for term in terms
        )

    def _fold_attention(self, reads: Sequence[nn.MultiheadAttention]) -> None:
        asks, gives = zip(*(_attention(each) for each in reads), strict=True)
        self.asks, self.asks_bias = _stacked(asks)
        self.gives, self.gives_bias = _stacked(gives)
        self.others = nn.Buffer(torch.tensor([1, 0]))

    def _fold_mixture(self, network: Hcn) -> None:
        person, dim = network.profile.token.weight, self.dim
        if network.co_interest:
            long, short, own = network.gate.weight.T.split(dim)
            self.gate, self.gate_bias = _kept(torch.cat([long, short])), _kept(network.gate.bias)
            person = torch.cat([person, person @ own], dim=1)
        self.person = _kept(person)
        self.out = _kept(network.norm.weight[:, None] * network.out.weight.T)
        self.out_bias = _kept(network.out(network.norm.bias))

    def forward(
        self,
        events: Tensor,
        kind: Tensor,
        gap: Tensor,
        age: Tensor,
        recent: Tensor,
        mask: Tensor,
        profile: Tensor,
    ) -> Tensor:
        """Interests [B, K, d + 1]."""
        x = events @ self.item + (F.embedding(kind, self.kind) + F.embedding(gap, self.gap))
        x = x + F.embedding(age, self.age)
        present = mask[:, None, :, None]
        if self.co_interest:
            present = torch.cat([present, recent[:, None, :, None]], dim=1)
        centres, pooled = self._levels(x, events.unsqueeze(1), present.to(x.dtype))
        # B 1 1 (d, d of the gate)
        person = F.embedding(profile.unsqueeze(1), self.person).sum(2, keepdim=True)
        if self.co_interest:
            person, opened = person.split(self.dim, dim=-1)
            centres, pooled = self._mixed(centres, pooled, opened + self.gate_bias)
        vector = pooled + (self._normed(centres + person) @ self.out + self.out_bias)
        length = torch.linalg.vector_norm(vector, dim=-1, keepdim=True).clamp(min=1e-12) * self.temperature
        # A number by itself is 1, which is the weight of an item's bias.
        interests: Tensor = (torch.cat([vector, length], dim=-1) / length).squeeze(1)
        return interests

    def _levels(self, x: Tensor, events: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Centres and means of item vectors [B, G, K, d] of x [B, T, d] and events [B, 1, T, d + 1] where
        `present` [B, G, T, 1]."""
        read = self._read(x).unsqueeze(1)
        x = x.unsqueeze(1)
        levels = []
        centres: Tensor = self.start
        queries: Tensor = self.first
        for level in range(self.iterations):
            if level:
                queries = (self._normed(centres) @ self.query).transpose(-1, -2)
            claim = torch.softmax(read @ queries, dim=-1) * present  # B G T K
            total = claim.transpose(-1, -2) @ read  # B G K d+1
            count = total[..., -1:].clamp(min=1e-6)
            step = F.gelu(total / count @ self.update_in + self.update_in_bias) @ self.update_out
            centres = centres + (step + self.update_out_bias if level else step)
            if self.level_weight is not None or level == self.iterations - 1:
                levels.append((centres, (claim.transpose(-1, -2) @ events)[..., :-1] / count))
            elif self.explained is not None:
                x = x - self.explained[level] * (claim @ centres)
                read = self._read(x)
        return levels[-1] if self.level_weight is None else self._weighted(levels)

    def _weighted(self, levels: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        assert self.level_weight is not None
        weights = self.level_weight.permute(1, 2, 3, 0)
        centres, pooled = (torch.stack(each, dim=-1) for each in zip(*levels, strict=True))
        return (centres * weights).sum(-1), (pooled * weights).sum(-1)

    def _mixed(self, centres: Tensor, pooled: Tensor, opened: Tensor) -> tuple[Tensor, Tensor]:
        """Both terms in one after each has read the other: [B, 1, K, d] each."""
        others = centres.index_select(1, self.others)
        asked = (centres @ self.asks + self.asks_bias).reshape(-1, 2, self._rows, self.dim)  # B G Kh d
        found = torch.softmax(asked @ others.transpose(-1, -2), dim=-1) @ others
        found = found.reshape(-1, 2, self.interests, self.gives.shape[1])  # B G K hd
        joined = centres + (found @ self.gives + self.gives_bias)
        long, short = joined.split(1, dim=1)
        gate = torch.sigmoid(torch.cat([long, short], dim=-1) @ self.gate + opened)
        from_long, from_short = pooled.split(1, dim=1)
        return short + gate * (long - short), from_short + gate * (from_long - from_short)

    @property
    def _rows(self) -> int:
        return self.interests * self.gives.shape[1] // self.dim

    def _read(self, x: Tensor) -> Tensor:
        return F.pad(self._normed(x), (0, 1), value=1.0)

    def _normed(self, values: Tensor) -> Tensor:
        return F.layer_norm(values, (self.dim,), eps=self.eps)


Pair = tuple[Tensor, Tensor]


def _query(term: InterestExtractor) -> Tensor:
    """What makes a query [d + 1] of a normalised centre [d]: (norm C) Wq Wk^T / sqrt(d)."""
    key = term.key_value.weight[: len(term.query.weight)]
    return term.norm_centre.weight[:, None] * _beside_ones(
        term, term.query.weight.T @ key * term.scale, dim=1
    )


def _update_in(term: InterestExtractor) -> Pair:
    """What makes the hidden layer of what a centre reads [d + 1]."""
    value = term.key_value.weight[len(term.query.weight) :]
    return _beside_ones(term, value.T @ term.update_in.weight.T, dim=0), term.update_in.bias


def _beside_ones(term: InterestExtractor, matrix: Tensor, dim: int) -> Tensor:
    """`matrix`, whose axis `dim` is an event [d], over its normalised form beside a one [d + 1]."""
    shape = (-1, 1) if dim == 0 else (1, -1)
    shift = (matrix * term.norm_event.bias.view(shape)).sum(dim, keepdim=True)
    return torch.cat([matrix * term.norm_event.weight.view(shape), shift], dim=dim)


def _attention(attention: nn.MultiheadAttention) -> tuple[Pair, Pair]:
    """What makes the heads' queries [h d] of a vector [d], in the space of what is read; and what makes the
    answer [d] of what the heads read there [h d]. Biases of keys add the same to all and change nothing."""
    dim, heads = attention.embed_dim, attention.num_heads
    query, key, value = attention.in_proj_weight.view(3, heads, -1, dim)
    query_bias, _, value_bias = attention.in_proj_bias.view(3, heads, 1, -1)
    key = key * query.shape[1] ** -0.5
    asks = (query.transpose(1, 2) @ key).transpose(0, 1).reshape(dim, -1)
    out = attention.out_proj.weight.view(dim, heads, -1).permute(1, 2, 0)  # h d/h d
    gives = (value.transpose(1, 2) @ out).reshape(-1, dim)
    given = (value_bias @ out).sum((0, 1)) + attention.out_proj.bias
    return (asks, (query_bias @ key).flatten()), (gives, given)


def _by_term(
    terms: Sequence[InterestExtractor], of: Callable[[InterestExtractor], Pair]
) -> tuple[nn.Parameter, nn.Parameter]:
    return _stacked([of(term) for term in terms])


def _stacked(pairs: Sequence[Pair]) -> tuple[nn.Parameter, nn.Parameter]:
    """Weights [G, in, out] and biases [G, 1, out]."""
    weights, biases = zip(*pairs, strict=True)
    return _kept(torch.stack(weights)), _kept(torch.stack(biases).unsqueeze(1))


def _by_level(numbers: Iterable[Tensor | None]) -> nn.Parameter | None:
    """One number per level and term [L, G, 1, 1]; None if the network has none."""
    found = [each for each in numbers if each is not None]
    return _kept(torch.stack(found, dim=1)[..., None, None]) if found else None


def _kept(weights: Tensor) -> nn.Parameter:
    return nn.Parameter(weights.clone().contiguous(), requires_grad=False)
