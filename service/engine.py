"""What a request reads once and uses to its end: a bundle, a catalogue snapshot, and their cascades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from models.plan import Plan
from service.bundle import Bundle
from service.cascade.assemble import assemble
from service.cascade.cascade import Cascade, Trace
from service.cascade.cursor import LIMIT, Cursor, Cursors
from service.cascade.hydrate import Moment, hydrate
from service.cascade.observe import Observer
from service.cascade.query import Kind, Outcome, Query, Request
from service.cascade.round import Round
from service.cascade.steps import Steps
from service.catalogue import Catalogue
from service.errors import OperatorError
from service.features.store import ItemChange, UserRecord
from service.identifiers import hash_ids
from service.interest_names import InterestNames
from service.overlay import CAPACITY
from service.placements import DEFAULT, Placements, check_placements, check_selling, plans
from service.starvation import starvation
from service.trends import Trends


@dataclass(frozen=True, slots=True)
class Placed:
    """A placement's own plan and its cascades."""

    plan: Plan
    cascades: Mapping[Kind, Cascade]


@dataclass(frozen=True, slots=True)
class Engine:
    """Immutable: a live change or another bundle makes a new engine, and the app swaps one reference.

    Safe to use from several threads at once.
    """

    bundle: Bundle
    catalogue: Catalogue
    plan: Plan
    cascades: Mapping[Kind, Cascade]
    observer: Observer
    names: InterestNames
    cursors: Cursors = field(default_factory=Cursors)
    trends: Trends = field(default_factory=Trends)
    placed: Mapping[str, Placed] = field(default_factory=lambda: MappingProxyType({}))
    """By the name of each placement that has a plan of its own."""
    placements: frozenset[str] = frozenset()
    """Names of placements that are known: the operator's and the bundle's."""

    @classmethod
    def build(
        cls,
        bundle: Bundle,
        observer: Observer,
        *,
        plan: Plan | None = None,
        cursors: Cursors | None = None,
        capacity: int = CAPACITY,
        trends: Trends | None = None,
        placements: Placements | None = None,
    ) -> Engine:
        """The engine of a bundle as it was exported; `plan` overrides the bundle's own.

        At most `capacity` items may come to differ from the bundle.

        Raises:
            OperatorError: the plan or a placement does not fit the bundle.
        """
        placements = placements or {}
        catalogue = Catalogue.of(bundle, capacity)
        plan = plan or bundle.plan
        trends = trends or Trends()
        cascades = assemble(plan, bundle, catalogue, observer, trends.at)
        check_placements(placements, catalogue)
        check_selling(plan, placements)
        placed = {}
        for name, own in plans(plan, placements).items():
            try:
                placed[name] = Placed(own, assemble(own, bundle, catalogue, observer, trends.at))
            except OperatorError as error:
                raise OperatorError(f"placements.{name}.{error}") from None
        return cls(
            bundle=bundle,
            catalogue=catalogue,
            plan=plan,
            cascades=cascades,
            observer=observer,
            names=InterestNames(bundle.interest_labels, catalogue),
            cursors=cursors or Cursors(),
            trends=trends,
            placed=placed,
            placements=frozenset((DEFAULT, *placements, *bundle.schema.placements)),
        )

    def with_changes(self, changes: Sequence[ItemChange], now_ms: int) -> Engine:
        """The engine after live catalogue changes, oldest first."""
        return self.over(self.catalogue.apply(changes, now_ms))

    def as_exported(self) -> Engine:
        """The engine before any live change."""
        catalogue = self.catalogue
        return self.over(Catalogue.of(self.bundle, catalogue.overlay.capacity, catalogue.exported))

    @property
    def refused(self) -> int:
        """Item changes for which there was no room."""
        return self.catalogue.refused

    def warm(self) -> None:
        """See `service.catalogue.Catalogue.warm`."""
        self.catalogue.warm()

    def over(self, catalogue: Catalogue) -> Engine:
        """The engine over another snapshot of the catalogue."""
        return replace(
            self,
            catalogue=catalogue,
            cascades=self._assembled(self.plan, catalogue),
            placed={
                name: Placed(placed.plan, self._assembled(placed.plan, catalogue))
                for name, placed in self.placed.items()
            },
            names=InterestNames(self.bundle.interest_labels, catalogue),
        )

    def hydrate(self, request: Request, record: UserRecord | None, moment: Moment) -> Query:
        """See `service.cascade.hydrate.hydrate`."""
        return hydrate(request, record, moment, self.bundle.schema, self.catalogue, self.cursors)

    def run(self, query: Query, trace: Trace | None = None) -> Outcome:
        """Run the cascade of the query's kind; see `service.cascade.cascade.Cascade.run`."""
        return self.cascade(query).run(query, trace)

    def steps(self, query: Query, trace: Trace | None = None) -> Steps[Outcome]:
        """`run` in steps; see `service.cascade.cascade.Cascade.steps`."""
        return self.cascade(query).steps(query, trace)

    def cascade(self, query: Query) -> Cascade:
        """The cascade that answers the query: of its kind, at its placement."""
        return self._cascades_of(query)[query.kind]

    def know(self, query: Query) -> Query:
        """See `service.cascade.cascade.Cascade.know`."""
        return self.cascade(query).know(query)

    def plan_of(self, query: Query) -> Plan:
        """The plan that the query is answered by."""
        placed = self.placed.get(query.placement_name)
        return self.plan if placed is None else placed.plan

    def rounds_of(self, query: Query) -> tuple[Round, ...]:
        """The rounds that the query goes through."""
        return self._cascades_of(query)[query.kind].rounds

    def next_cursor(self, request: Request, query: Query, item_ids: Sequence[str]) -> str | None:
        """The cursor after a page of these items; None where the list ends."""
        if len(item_ids) < query.count or len(query.trail) + len(item_ids) >= LIMIT:
            return None
        trail = np.concatenate([query.trail, hash_ids(item_ids)])
        return self.cursors.write(request, Cursor(query.seed, trail))

    def starvation(self, request: Request, query: Query, outcome: Outcome) -> dict[str, Any] | None:
        """See `service.starvation.starvation`."""
        last = self.cascade(query).rounds[-1].name
        return starvation(request, query, outcome, self.catalogue, last)

    def _cascades_of(self, query: Query) -> Mapping[Kind, Cascade]:
        placed = self.placed.get(query.placement_name)
        return self.cascades if placed is None else placed.cascades

    def _assembled(self, plan: Plan, catalogue: Catalogue) -> Mapping[Kind, Cascade]:
        return assemble(plan, self.bundle, catalogue, self.observer, self.trends.at)
