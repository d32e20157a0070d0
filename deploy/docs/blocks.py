"""Generated blocks: what is between `<!-- NAME:start -->` and `<!-- NAME:end -->` belongs to a command."""

from __future__ import annotations

import re
from pathlib import Path

from models.artifacts import write_bytes


def replaced(document: str, name: str, text: str) -> str:
    """The document with the block `name` holding `text`.

    Raises:
        LookupError: there is not exactly one such block.
    """
    pattern = re.compile(
        rf"(<!-- {re.escape(name)}:start -->\n).*?(<!-- {re.escape(name)}:end -->)", re.DOTALL
    )
    changed, count = pattern.subn(lambda found: f"{found[1]}{text.rstrip()}\n{found[2]}", document)
    if count != 1:
        raise LookupError(f"{count} blocks <!-- {name}:start --> ... <!-- {name}:end -->, not one")
    return changed


def fill(path: Path, name: str, text: str) -> None:
    """Rewrite the block `name` of a document."""
    document = path.read_text(encoding="utf-8")
    write_bytes(path, replaced(document, name, text).encode())
    path.chmod(0o644)


def fenced(lines: str, caption: str) -> str:
    """A block of output under a caption that says where it came from."""
    return f"{caption}\n\n```text\n{lines.rstrip()}\n```\n"
