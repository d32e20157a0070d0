"""Which version follows which: what is on disk, what was chosen, and whether a choice is to be followed."""

from __future__ import annotations

from pathlib import Path

from service.bundles import Beginning, FoundBundle, bundle_folder, list_bundles
from service.errors import Conflict, NotFound
from service.features.bundle_store import Choice
from service.settings import Settings

LATEST = "latest"
"""Activates the newest version and pins none."""


class Versions:
    """Of one process. `beginning` None = this process is the whole service and chooses for itself."""

    def __init__(self, settings: Settings, beginning: Beginning | None = None) -> None:
        self._settings = settings
        self._beginning = beginning

    @property
    def folder(self) -> Path:
        """Where bundles are looked for."""
        return bundle_folder(self._settings)

    def own(self) -> Beginning:
        """What this service begins with if nothing else was chosen.

        Raises:
            OperatorError, BundleError: there is nothing.
        """
        if self._beginning is None:
            self._beginning = Beginning.of(self._settings)
        return self._beginning

    def follows(self, choice: Choice) -> bool:
        """Whether a choice is to be followed: it is pinned, or was made since the service was started."""
        return self._settings.bundle is None and (choice.pinned or choice.at_ms >= self.own().since_ms)

    def find(self, version: str) -> FoundBundle:
        """A version on disk.

        Raises:
            NotFound: there is none of this name.
        """
        found = list_bundles(self.folder)
        if version == LATEST and found:
            return found[0]
        for one in found:
            if one.manifest.version == version:
                return one
        known = ", ".join(one.manifest.version for one in found[:10]) or "none"
        raise NotFound("bundle", version, f"the folder of bundles has {known}")

    def next(self, choice: Choice | None, serving: str, version: str, now_ms: int, *, pinned: bool) -> Choice:
        """The choice of `version` after `choice`; to choose what is chosen already keeps the one before."""
        now = choice.version if choice is not None and self.follows(choice) else serving
        before = self.before(choice, serving) if now == version else now
        number = 0 if choice is None else choice.number
        return Choice(number + 1, version, before, pinned, now_ms)

    def before(self, choice: Choice | None, serving: str) -> str | None:
        """What a rollback goes to: what was chosen before, else the next older one on disk."""
        if choice is not None and self.follows(choice) and choice.before is not None:
            return choice.before
        versions = [one.manifest.version for one in list_bundles(self.folder)]
        older = versions[versions.index(serving) + 1 :] if serving in versions else []
        return older[0] if older else None

    def refuse_if_fixed(self) -> None:
        """Refuse to choose where the settings name the bundle.

        Raises:
            Conflict: they do.
        """
        if self._settings.bundle is not None:
            raise Conflict(
                "CASCADA_BUNDLE (--bundle) says which bundle is served; "
                "set CASCADA_BUNDLES instead, so that one can be chosen of its folder"
            )

    def plainly(self, reason: str) -> str:
        """A reason without the path of the folder of bundles, which is nobody else's business."""
        folder = self.folder
        return reason.replace(f"{folder.absolute()}/", "").replace(f"{folder}/", "")
