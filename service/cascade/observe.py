"""Who watches a cascade: the runner tells, and knows nothing of metrics or logs."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Called by the runner from whatever thread serves the request; must be quick and must not raise."""

    def on_stage(
        self, cascade: str, stage: str, seconds: float, rows_in: int, rows_out: int, failed: bool
    ) -> None:
        """One stage of any sort (hydrator, source, filter, scorer, selector) ran or failed.

        `stage` is the stage's name under its sort, such as "source.popular" or "score.rank".
        """

    def on_source(self, cascade: str, source: str, proposed: int, unique: int) -> None:
        """A source proposed so many candidates, of which `unique` came from no other source."""

    def on_filter(self, cascade: str, reason: str, count: int) -> None:
        """A filter ruled out `count` candidates (not called for none)."""

    def on_degraded(self, cascade: str, stage: str, reason: str, error: BaseException | None) -> None:
        """A fallback was taken: the stage "failed", its "deadline" passed or its "input" is missing."""

    def on_nonfinite(self, cascade: str, stage: str, count: int) -> None:
        """A scorer gave `count` values that are not finite (not all of them, which is a failure)."""

    def on_answer(
        self, cascade: str, seconds: float, scoring: float, returned: int, degraded: tuple[str, ...]
    ) -> None:
        """A query was answered in so many seconds of its own, `scoring` of which were its scorers'."""


class NullObserver:
    """Watches nothing."""

    def on_stage(
        self, cascade: str, stage: str, seconds: float, rows_in: int, rows_out: int, failed: bool
    ) -> None:
        """Nothing."""

    def on_source(self, cascade: str, source: str, proposed: int, unique: int) -> None:
        """Nothing."""

    def on_filter(self, cascade: str, reason: str, count: int) -> None:
        """Nothing."""

    def on_degraded(self, cascade: str, stage: str, reason: str, error: BaseException | None) -> None:
        """Nothing."""

    def on_nonfinite(self, cascade: str, stage: str, count: int) -> None:
        """Nothing."""

    def on_answer(
        self, cascade: str, seconds: float, scoring: float, returned: int, degraded: tuple[str, ...]
    ) -> None:
        """Nothing."""
