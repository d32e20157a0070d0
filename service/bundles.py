"""The bundles on disk: which there are, and which one to serve."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from models.artifacts import BundleError, Manifest, read_manifest
from service.errors import OperatorError
from service.settings import Settings

_log = logging.getLogger("cascada.bundles")


@dataclass(frozen=True, slots=True)
class FoundBundle:
    """A bundle folder with a readable manifest; its files are not checked yet."""

    folder: Path
    manifest: Manifest


def list_bundles(folder: Path) -> list[FoundBundle]:
    """The bundles below a folder, newest first; what is none is left out, what is a broken one logged."""
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".") or not path.is_dir():
            continue
        try:
            found.append(FoundBundle(path, read_manifest(path)))
        except BundleError as error:
            _log.warning("not a bundle", extra={"reason": str(error)})
    return sorted(found, key=lambda one: (one.manifest.created, one.manifest.version), reverse=True)


def bundle_folder(settings: Settings) -> Path:
    """Where bundles are looked for."""
    return settings.bundles if settings.bundle is None else settings.bundle.parent


def choose_bundle(settings: Settings) -> FoundBundle:
    """The bundle to serve: the one that is named, else the newest.

    Raises:
        OperatorError: there is none; says where it was looked for and how to make one.
        BundleError: the named one has no readable manifest.
    """
    if settings.bundle is not None:
        return FoundBundle(settings.bundle, read_manifest(settings.bundle))
    found = list_bundles(settings.bundles)
    if not found:
        raise OperatorError(
            f"no bundle in {settings.bundles}: make one with `cascada export RUN --out {settings.bundles}`"
        )
    return found[0]
