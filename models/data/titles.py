"""Readable titles out of library-style ones."""

from __future__ import annotations

import re

_ARTICLES = "The|An|A|Les|Le|La|L'|Il|El|Los|Las|Das|Der|Die|Det|Den|De|Un|Une|O"
_INVERTED = re.compile(rf"(?P<rest>[^()]+?), (?P<article>{_ARTICLES})(?=\s*(?:\(|\)|$))")
_YEAR = re.compile(r"\s*\((?P<year>\d{4})\)\s*$")


def readable_title(title: str) -> str:
    """Put a trailing article in front, inside brackets too: `Hate (Haine, La)` becomes `Hate (La Haine)`."""
    return _INVERTED.sub(_in_order, title.strip())


def split_year(title: str) -> tuple[str, int | None]:
    """Take the year of release off the end: `Toy Story (1995)` becomes `Toy Story` and 1995."""
    found = _YEAR.search(title)
    return (title[: found.start()], int(found["year"])) if found else (title.strip(), None)


def _in_order(match: re.Match[str]) -> str:
    rest, article = match["rest"], match["article"]
    return f"{article}{rest}" if article.endswith("'") else f"{article} {rest}"
