"""One endless task beside the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

_AGAIN_S = 0.5
"""A task that goes on for so long after it was cancelled is cancelled once more."""


class Background:
    """Holds a task from `start` to `stop`; the name is for whoever debugs."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._task is not None

    def start(self, work: Coroutine[object, object, None]) -> None:
        """Begin."""
        self._task = asyncio.create_task(work, name=self._name)

    async def stop(self) -> None:
        """Cancel it and wait for its end; nothing happens if it was never started."""
        task, self._task = self._task, None
        if task is None:
            return
        while not task.done():
            # Once may not be enough: what is caught together with an answer or a time limit is forgotten.
            task.cancel()
            await asyncio.wait({task}, timeout=_AGAIN_S)
        if not task.cancelled():
            task.result()
