"""The plan: widths and weights of the cascade that training chose on validation. Settings may override it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

ONLY_PRERANK: Mapping[str, float] = {"prerank": 1.0}
"""The cut by the pre-ranker's score and nothing else."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How wide each step of the funnel is, and how interests are made.

    `depth` says where the cascade ends: "retrieve" answers by retrieval alone, "prerank" without the ranker.
    `candidates` are let through by retrieval and `ranked` by the pre-ranker; `quotas` is the share of
    `candidates` that each source may propose. `interests` interest queries share `1 - own_share` of the
    interest slots, the user's own vector takes the rest; `neighbours` similar users smooth the mixture with
    weight kappa / (n_events + kappa); `tau_days` is the decay of an event's weight. `similar_events` is how
    many of the newest events look up neighbours. `diversity` in 0..1 is the default knob.
    """

    depth: Literal["retrieve", "prerank", "rank"] = "rank"
    candidates: int = 1000
    ranked: int = 200
    quotas: Mapping[str, float] = field(
        default_factory=lambda: {
            "interests": 0.6,
            "similar": 0.4,
            "factors": 0.5,
            "popular": 0.1,
            "trending": 0.1,
            "fresh": 0.02,
        }
    )
    cut: Mapping[str, float] = field(default_factory=lambda: dict(ONLY_PRERANK))
    """Weights of `models.encode.CROSS` by which the pre-ranking round cuts recommendations to `ranked`."""
    interests: int = 8
    own_share: float = 0.5
    query_blend: float = 0.5
    """Share of the user's own vector in each interest query."""
    neighbours: int = 50
    kappa: float = 5.0
    own_weight: float | None = None
    """A fixed lam, the weight of the user's own events against the neighbours'; None = n / (n + kappa)."""
    background: float = 0.0
    """Weight of everybody's mean mixture in a user's, so that clusters he never met get a part."""
    smoothing: Literal["both", "weights", "centroids", "none"] = "none"
    """What the neighbours have a part in: the mixture's weights, the interests' directions, both or none.

    A user without events is made of them in any case."""
    tau_days: float = 90.0
    similar_events: int = 100
    similar_decay: float = 0.98
    """Weight of the j-th newest event in the similar source: similar_decay ** j."""
    pair_events: int = 30
    """How many of the newest events trigger pairs that the similar source scores for this user; 0 = none:
    their lists are summed for all users alike."""
    similar_weights: Mapping[str, float] = field(
        default_factory=lambda: {"cosine": 1.0, "company": 0.5, "together": 0.25}
    )
    """Weights of what makes an item similar to another: names of `service.cascade.scorers.relevance`."""
    complementary_weights: Mapping[str, float] = field(
        default_factory=lambda: {"company": 1.0, "alike": -0.5}
    )
    """The same for what goes with it; a negative weight keeps what would replace it away."""
    diversity: float = 0.0
    diversity_method: Literal["dpp", "mmr"] = "dpp"
    """What a diverse list is made by: a determinantal point process, or maximal marginal relevance."""
    thompson: float = 0.0
    """In-slate Thompson sampling of recommendations: the posterior's width, 1 = as it was fitted; 0 = off.

    Each place then carries its propensity. It needs `depth` "rank", and a bundle with a posterior."""
    explore: float = 0.05
    """Share of an answer's places for fresh items, those without any event at the export; 0 = none."""
    fresh_days: float = 14.0
    """How long an item counts as fresh, and is proposed as such."""
    event_weights: Mapping[str, float] = field(default_factory=dict)
    """Weight of an event kind in the mixture; a kind that is absent counts 1."""
    calibration: str = "isotonic"
    search_fields: Mapping[str, float] = field(default_factory=lambda: {"title": 3.0})
    """Weights of the lexical index's fields; one that is not named counts 1."""
    fusion: Mapping[str, float] = field(default_factory=lambda: {"lexical": 1.0, "dense": 1.0})
    """Weights of the lists that a search fuses by reciprocal rank."""
    fusion_k: float = 60.0
    search: Mapping[str, float] = field(
        default_factory=lambda: {"relevance": 1.0, "lexical": 5.0, "dense": 1.0, "rank": 0.3}
    )
    """Weights of words and user in the order of a search: names of `service.cascade.scorers.found`."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Plan:
        """The inverse of `to_json`.

        Raises:
            ValueError: a key is unknown.
        """
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(raw) - known):
            raise ValueError(f"unknown plan keys {unknown}; known are {sorted(known)}")
        return cls(**raw)
