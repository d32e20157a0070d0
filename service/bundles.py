"""The bundles on disk: which there are, and which one to serve."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from models.artifacts import MANIFEST, BundleError, Manifest, read_manifest
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


def broken_bundles(folder: Path) -> list[tuple[str, str]]:
    """Folders below `folder` whose manifest is there and cannot be read: the name, and why."""
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not path.name.startswith(".") and (path / MANIFEST).is_file():
            try:
                read_manifest(path)
            except BundleError as error:
                found.append((path.name, str(error).replace(f"{folder}/", "")))
    return found


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


@dataclass(frozen=True, slots=True)
class Beginning:
    """The bundle that all workers of a service begin with, and when the service was started."""

    folder: Path
    since_ms: int

    @classmethod
    def of(cls, settings: Settings) -> Beginning:
        """The bundle of the settings, as of now.

        Raises:
            OperatorError, BundleError: see `choose_bundle`.
        """
        return cls(choose_bundle(settings).folder.absolute(), round(time.time() * 1000))
