"""Structured logs: one JSON object per line, each with the request's id and the bundle's version."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

CONTEXT: ContextVar[Mapping[str, str]] = ContextVar("log_context", default={})  # noqa: B039
"""Fields that every line of the current request carries. Replace the mapping, never change it."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


def add_context(**fields: str) -> None:
    """Let every later line of this request carry these fields."""
    CONTEXT.set({**CONTEXT.get(), **fields})


class JsonFormatter(logging.Formatter):
    """Time, level, logger, message, the request's context, and whatever came as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **CONTEXT.get(),
            **_extra(record),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class TextFormatter(logging.Formatter):
    """The same for human eyes."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, message, then the fields."""
        when = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        fields = {**CONTEXT.get(), **_extra(record)}
        text = " ".join([record.getMessage(), *(f"{name}={value}" for name, value in fields.items())])
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return f"{when} {record.levelname.lower():7} {text}"


def configure_logs(level: str, form: Literal["json", "text"]) -> None:
    """Send all loggers of the process to stderr in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class Outage:
    """Says once that something is away and once that it is back, however often it is tried in between."""

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger = logger
        self._what = what
        self._away = False

    def began(self, reason: object) -> None:
        """It failed."""
        if not self._away:
            self._away = True
            self._logger.warning("%s: not for now", self._what, extra={"reason": str(reason)})

    def ended(self) -> None:
        """It works."""
        if self._away:
            self._away = False
            self._logger.info("%s: works again", self._what)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
