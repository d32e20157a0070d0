"""Every error that this service raises on purpose, sorted by who can do something about it.

`service.api.errors` holds the one table from these classes to HTTP. A store that does not answer raises
`service.features.store.StoreUnavailable`, a broken bundle `models.artifacts.BundleError`.
"""

from __future__ import annotations


class CascadaError(Exception):
    """The root: whatever is no `CascadaError` is a defect."""


class CallerError(CascadaError):
    """The caller asked for something that cannot be; `path` names the field, as in `filter.all[1].value`."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


class NotFound(CascadaError):
    """The caller named a thing that is not here, such as an "item" or a "user"; `hint` may say why."""

    def __init__(self, kind: str, identifier: str, hint: str = "") -> None:
        super().__init__(f"there is no {kind} {identifier!r}" + (f": {hint}" if hint else ""))
        self.kind = kind
        self.identifier = identifier


class Forbidden(CascadaError):
    """The caller may not do this without another key."""


class Conflict(CascadaError):
    """The caller's: what is asked does not go with how things stand now; the message says what to do."""


class Shed(CascadaError):
    """Ours, expected: refused at the door, there is too much to do; try again in `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ClientGone(CascadaError):
    """Ours, expected: nobody waits for this answer any more, so it is not made."""


class NotReady(CascadaError):
    """Ours, expected: no bundle has gone through its warm-up yet."""


class Degraded(CascadaError):
    """Ours: an optional part is missing or failed; the answer goes on without it and says so."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(f"{part}: {message}")
        self.part = part


class OperatorError(CascadaError):
    """The operator's: a setting, a limit or a file must change; the message says what to do."""


class ContractViolation(CascadaError):
    """A programmer's: a stage broke its contract. Never swallowed, never called degraded."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(f"stage {stage!r} {message}")
        self.stage = stage
