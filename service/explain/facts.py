"""What the funnel knows of one candidate, in the caller's terms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.explain.funnel import Finder, Funnel, funnel_of
from service.explain.trace import NamedInterest, Recording, named_interests
from service.explain.weights import PARTS, RankerWeights, ranker_weights

_SCORE = "_score"
_NOT_SCORES = frozenset({"sources", "interest_index"})


@dataclass(frozen=True)
class Facts:
    """A funnel with the names of its interests."""

    funnel: Funnel
    interests: Sequence[NamedInterest]

    def of(self, at: int) -> dict[str, Any]:
        """Sources, interest, places and scores of one candidate; places count from 1."""
        return {
            "sources": self._sources(at),
            "interest": self.interest(at),
            "places": {
                step.name: place + 1
                for step, place in zip(self.funnel.steps, self.funnel.places[:, at].tolist(), strict=True)
                if place >= 0
            },
            "scores": self._scores(at),
        }

    def interest(self, at: int) -> dict[str, str] | None:
        """The interest that found a candidate; None where only other sources did."""
        found = self.funnel.columns.get("interest_index")
        if found is None or found[at] < 0 or found[at] >= len(self.interests):
            return None
        return asdict(self.interests[int(found[at])])

    def _sources(self, at: int) -> list[dict[str, Any]]:
        return [
            {
                "source": name,
                "score": number(self.funnel.columns[name + _SCORE][at]),
                "place": int(self._source_places[name][at]),
            }
            for name in self.funnel.proposed_by(at)
            if name + _SCORE in self.funnel.columns
        ]

    def _scores(self, at: int) -> dict[str, float | None]:
        proposed = {name + _SCORE for name in self.funnel.source_names}
        return {
            name: number(column[at])
            for name, column in self.funnel.columns.items()
            if name not in proposed and name not in _NOT_SCORES and not _is_absent(column[at])
        }

    @cached_property
    def _source_places(self) -> Mapping[str, NDArray[np.intp]]:
        """The place [N] of each candidate in the list of each source, from 1."""
        places = {}
        for name in self.funnel.source_names:
            column = self.funnel.columns.get(name + _SCORE)
            if column is not None:
                place = np.empty(len(column), np.intp)
                place[np.argsort(-column, kind="stable")] = np.arange(1, len(column) + 1)
                places[name] = place
        return places


def weights_fields(weights: RankerWeights) -> dict[str, Any]:
    """The fields that only the ranker's own graph can fill."""
    return {
        "experts": list(weights.experts),
        "events": {
            "gate": [asdict(one) for one in weights.gate],
            "attention": [asdict(one) for one in weights.attention],
        },
    }


def explain_answer(recording: Recording) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """For each item of an answer why it is there, and what could not be told, with the reason."""
    engine, outcome = recording.engine, recording.outcome
    rows, funnel = funnel_of(recording.batches, outcome, engine.cascade(recording.query))
    facts = Facts(funnel, named_interests(engine, outcome))
    explained = [facts.of(at) for at in Finder(rows)(outcome.rows).tolist()]
    query = recording.query.with_state(outcome.state)
    weights = ranker_weights(engine, query, outcome.rows, outcome.columns)
    if isinstance(weights, str):
        return explained, dict.fromkeys(PARTS, weights) if explained else {}
    for one, found in zip(explained, weights, strict=True):
        if found is not None:
            one |= weights_fields(found)
    return explained, {}


def _is_absent(value: Any) -> bool:
    """NaN or a negative integer: no stage said anything."""
    return bool(np.isnan(value)) if value.dtype.kind == "f" else bool(value < 0)


def number(value: Any) -> float | None:
    """A plain number; what is not finite becomes null."""
    plain = float(value)
    return plain if math.isfinite(plain) else None
