"""The files of a bundle, each read into what it holds; one that cannot be read is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from models import artifacts
from models.artifacts import BundleError, Manifest, StringColumn
from models.graph import Graph
from models.plan import Plan
from models.schema import Schema
from ranking.calibration import Calibration
from ranking.thompson import Posterior
from retrieval.complements import Complements
from retrieval.factors import Factors
from retrieval.index import open_index
from retrieval.pairs import PairScorer


def verified_manifest(folder: Path) -> Manifest:
    """The manifest, after all files were compared with its hashes.

    Raises:
        BundleError: a file is missing or differs, or no hash vouches for it.
    """
    manifest = artifacts.verify(folder)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name != artifacts.MANIFEST and name not in manifest.files:
            raise BundleError(f"{path}: not listed in {artifacts.MANIFEST}, so nothing vouches for it")
    return manifest


def schema(folder: Path, manifest: Manifest) -> Schema:
    """The schema that the manifest vouches for.

    Raises:
        BundleError: it cannot be read, or is another one.
    """
    path = folder / artifacts.SCHEMA
    try:
        found = Schema.from_json(_json(path))
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path}: not a schema that this version reads: {error!r}") from error
    if found.hash != manifest.schema_hash:
        raise BundleError(f"{path}: schema hash is {found.hash}, the manifest says {manifest.schema_hash}")
    return found


def plan(folder: Path) -> Plan:
    """The plan; `BundleError` if it cannot be read."""
    path = folder / artifacts.SERVING
    try:
        return Plan.from_json(_json(path)["plan"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path}: not a plan that this version reads: {error!r}") from error


def calibrator(folder: Path) -> Calibration:
    """The calibrator; `BundleError` if it cannot be read."""
    path = folder / artifacts.CALIBRATOR
    try:
        return Calibration.from_json(_json(path))
    except (AttributeError, TypeError, ValueError) as error:
        raise BundleError(f"{path}: not a calibrator that this version reads: {error}") from error


def optional_graph(path: Path, threads: int) -> Graph | None:
    """The graph, if the bundle has it."""
    return Graph.open(path, threads=threads) if path.exists() else None


def posterior(folder: Path) -> Posterior | None:
    """The posterior of the ranker's last layer, if the bundle has one; `BundleError` if it cannot be read."""
    path = folder / artifacts.POSTERIOR
    if not path.exists():
        return None
    try:
        return Posterior.from_json(_json(path))
    except (TypeError, ValueError) as error:
        raise BundleError(f"{path}: not a posterior that this version reads: {error}") from error


def pairs(folder: Path) -> PairScorer | None:
    """The scorer of pairs, if the bundle has one; `BundleError` if it cannot be read."""
    path = folder / artifacts.PAIRS
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            return PairScorer(stored["first"], stored["bias"], stored["second"])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise BundleError(f"{path}: not a scorer of pairs that this version reads: {error}") from error


def factors(folder: Path, threads: int) -> Factors | None:
    """The factors with their index, if the bundle has them.

    Raises:
        BundleError: they cannot be read, or the index is of other vectors.
    """
    path = folder / artifacts.FACTOR_CARD
    if not path.exists():
        return None
    index = open_index(folder / artifacts.FACTOR_INDEX, threads=threads)
    vectors = mapped(folder, artifacts.FACTORS)
    if vectors.ndim != 2 or vectors.shape[1] != index.dim:
        raise BundleError(
            f"{folder / artifacts.FACTORS}: shape {vectors.shape}, {artifacts.FACTOR_INDEX} has "
            f"{index.dim} dimensions"
        )
    try:
        return Factors(vectors, index, **_json(path))
    except TypeError as error:
        raise BundleError(f"{path}: not a card that this version reads: {error}") from error


def complements(folder: Path, threads: int) -> Complements | None:
    """The dual vectors with their index, if the bundle has them.

    Raises:
        BundleError: they cannot be read, or the index is of other vectors.
    """
    if not (folder / artifacts.COMPLEMENT_INDEX).exists():
        return None
    inward, outward = mapped(folder, artifacts.COMPLEMENT_IN), mapped(folder, artifacts.COMPLEMENT_OUT)
    index = open_index(folder / artifacts.COMPLEMENT_INDEX, threads=threads)
    for name, vectors in ((artifacts.COMPLEMENT_IN, inward), (artifacts.COMPLEMENT_OUT, outward)):
        if vectors.ndim != 2 or vectors.shape[1] != index.dim:
            raise BundleError(
                f"{folder / name}: shape {vectors.shape}, {artifacts.COMPLEMENT_INDEX} has {index.dim} "
                "dimensions"
            )
    return Complements(inward, outward, index)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: {error}") from error


def mapped(folder: Path, name: str) -> NDArray[Any]:
    """An array as a memory map; `BundleError` if it cannot be read."""
    try:
        mapped = np.load(folder / name, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BundleError(f"{folder / name}: {error}") from error
    return np.asarray(mapped)


def strings(folder: Path, stem: str) -> StringColumn:
    """A column of strings as a memory map; `BundleError` if it cannot be read."""
    try:
        return StringColumn.open(folder, stem)
    except (OSError, ValueError, EOFError) as error:
        raise BundleError(f"{folder / stem}: {error}") from error
