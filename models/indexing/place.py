"""Put an index where it belongs: into a run in place, or into a new version beside a bundle."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from models import artifacts
from models.artifacts import atomic_folder, list_files, verify, write_bytes, write_manifest
from models.indexing.source import IndexSource
from retrieval.index_card import IndexCard

_OWN = (artifacts.INDEX, artifacts.INDEX_CARD, artifacts.INDEX_PLOT)


@contextmanager
def scratch_of(folder: Path) -> Iterator[Path]:
    """A hidden folder on the same disk, so that what is made in it can be renamed; it vanishes at the end."""
    # A dot keeps it from being taken for a bundle.
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=f".{folder.name}.") as name:
        yield Path(name)


def place(source: IndexSource, index: Path, card: IndexCard, plot: bytes | None, now: datetime) -> Path:
    """Put the file `index` and its card where they belong and return that folder.

    A run is changed in place; a bundle never is: the same bundle with this index becomes a new version, the
    newest of all.

    Raises:
        BundleError: the bundle is not whole.
        MissedRecall: the index of a bundle finds less than it states.
    """
    if not source.is_bundle:
        _write(source.folder, index, card, plot)
        return source.folder
    card.recall.check(source.folder)
    manifest = verify(source.folder)
    target = _successor(source.folder.absolute().parent, manifest.version)
    with atomic_folder(target) as folder:
        skipped = shutil.ignore_patterns(*_OWN, artifacts.MANIFEST)
        shutil.copytree(source.folder, folder, ignore=skipped, dirs_exist_ok=True)
        _write(folder, index, card, plot)
        changed = replace(
            manifest,
            version=target.name,
            created=now.isoformat(),
            files=list_files(folder),
            metrics={**manifest.metrics, "index": card.metrics()},
        )
        write_manifest(folder, changed)
    return target


def _write(folder: Path, index: Path, card: IndexCard, plot: bytes | None) -> None:
    # Without a card nothing is exported or served, so a stop half-way is never taken for a whole index.
    for name in (artifacts.INDEX_CARD, artifacts.INDEX_PLOT):
        (folder / name).unlink(missing_ok=True)
    index.replace(folder / artifacts.INDEX)
    if plot is not None:
        write_bytes(folder / artifacts.INDEX_PLOT, plot)
    card.write(folder)


def _successor(bundles: Path, version: str) -> Path:
    """The first free name after `version`: "-index1", "-index2" and so on."""
    stem = re.sub(r"-index\d+$", "", version)
    number = 1
    while (bundles / f"{stem}-index{number}").exists():
        number += 1
    return bundles / f"{stem}-index{number}"
