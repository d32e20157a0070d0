"""The table of the training configuration, from the code."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from models.training.config import TrainConfig


def training_table() -> str:
    """Every key of the TOML file with its default and meaning, as Markdown."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    lines += [f"| `{key}` | `{default}` | {meaning} |" for key, default, meaning in _rows(TrainConfig)]
    return "\n".join(lines) + "\n"


def _rows(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _rows(kind, f"{prefix}{name}.")
        else:
            default = field.get_default(call_default_factory=True)
            yield f"{prefix}{name}", f"{default}", field.description or ""
