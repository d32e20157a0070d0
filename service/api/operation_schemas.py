"""What the service says of itself."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class ReadyOut(BaseModel):
    """Whether this process serves, and what it depends on."""

    status: Literal["ready", "starting", "failed"]
    bundle_version: str | None = None
    checks: dict[str, str] = {}
