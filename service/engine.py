"""What a request reads once and uses to its end: a bundle, a catalogue snapshot, and their cascades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from models.plan import Plan
from service.bundle import Bundle
from service.cascade.assemble import assemble
from service.cascade.cascade import Cascade, Trace
from service.cascade.cursor import LIMIT, Cursor, Cursors
from service.cascade.hydrate import Moment, hydrate
from service.cascade.observe import Observer
from service.cascade.query import Kind, Outcome, Query, Request
from service.catalogue import Catalogue
from service.features.store import ItemChange, UserRecord
from service.interest_names import InterestNames
from service.overlay import CAPACITY
from service.trends import Trends


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
    ) -> Engine:
        """The engine of a bundle as it was exported; `plan` overrides the bundle's own.

        At most `capacity` items may come to differ from the bundle.
        """
        catalogue = Catalogue.of(bundle, capacity)
        plan = plan or bundle.plan
        trends = trends or Trends()
        cascades = assemble(plan, bundle, catalogue, observer, trends.at)
        names = InterestNames(bundle.interest_labels, catalogue)
        return cls(bundle, catalogue, plan, cascades, observer, names, cursors or Cursors(), trends)

    def with_changes(self, changes: Sequence[ItemChange], now_ms: int) -> Engine:
        """The engine after live catalogue changes, oldest first."""
        return self.over(self.catalogue.apply(changes, now_ms))

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
            cascades=assemble(self.plan, self.bundle, catalogue, self.observer, self.trends.at),
            names=InterestNames(self.bundle.interest_labels, catalogue),
        )

    def hydrate(self, request: Request, record: UserRecord | None, moment: Moment) -> Query:
        """See `service.cascade.hydrate.hydrate`."""
        return hydrate(request, record, moment, self.bundle.schema, self.catalogue, self.cursors)

    def run(self, query: Query, trace: Trace | None = None) -> Outcome:
        """Run the cascade of the query's kind; see `service.cascade.cascade.Cascade.run`."""
        return self.cascades[query.kind].run(query, trace)

    def know(self, query: Query) -> Query:
        """See `service.cascade.cascade.Cascade.know`."""
        return self.cascades[query.kind].know(query)

    def next_cursor(self, request: Request, query: Query, outcome: Outcome) -> str | None:
        """The cursor after this page; None where the list ends."""
        trail = self.catalogue.extend_trail(query.trail, outcome.rows)
        if len(outcome.rows) < query.count or len(trail) >= LIMIT:
            return None
        return self.cursors.write(request, Cursor(query.seed, trail))
