"""The commands that README.md marks: `readme.py demo` prints the one after `<!-- command: demo -->`.

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def marked_command(name: str, readme: Path = README) -> str:
    """The only line of the code block that follows the mark.

    Raises:
        LookupError: the README marks no such command, or more than one line.
    """
    pattern = rf"<!-- command: {re.escape(name)} -->\s*```\w*\n(?P<body>.*?)```"
    found = re.findall(pattern, readme.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for body in found for line in body.splitlines() if line.strip()]
    if len(lines) != 1:
        raise LookupError(f"{readme}: <!-- command: {name} --> marks {len(lines)} commands, not one")
    return str(lines[0]).strip()


if __name__ == "__main__":
    print(marked_command(sys.argv[1]))
