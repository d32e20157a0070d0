"""Print what pyproject.toml requires, one per line: the serving packages and those of the extras named."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def main() -> None:
    """Read pyproject.toml of the working folder."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    print(*project["dependencies"], sep="\n")
    for extra in sys.argv[1:]:
        print(*project["optional-dependencies"][extra], sep="\n")


if __name__ == "__main__":
    main()
