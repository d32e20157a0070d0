"""The answers about bundles."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class BundleOut(BaseModel):
    """One bundle of the folder."""

    version: str
    created: str
    active: bool
    """Served by the worker that was asked."""
    before: bool
    """What a rollback would activate."""
    workers: int
    """How many serve it, as they told last."""
    refused: str | None
    """Why a worker refused it."""
    metrics: dict[str, Any]


class BrokenOut(BaseModel):
    """A folder whose manifest cannot be read."""

    folder: str
    reason: str


class BundlesOut(BaseModel):
    """All bundles, newest first; `pinned` = the one that was activated is served after a restart, too."""

    pinned: bool
    bundles: list[BundleOut]
    broken: list[BrokenOut]


class ActivatedOut(BaseModel):
    """The version that is served from now on."""

    version: str
    before: str | None
    pinned: bool
    seconds: float
