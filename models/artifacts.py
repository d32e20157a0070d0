"""The bundle on disk: file names, manifest, hashes, and writing that is never seen half-done."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import compress, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.masks import every

FORMAT = 1
MANIFEST = "manifest.json"

SCHEMA = "schema.json"
SERVING = "serving.json"
"""Widths and weights of the cascade that training chose on validation."""
ITEM_IDS = "item_ids"
"""Stem of a string column (`.blob.npy`, `.offsets.npy`)."""
ITEM_RECORDS = "item_records"
"""String column: one JSON object of attributes per item, `title` included."""
ITEM_TOKENS = "item_tokens.npy"
ITEM_CREATED = "item_created_ms.npy"
ITEM_AVAILABLE = "item_available.npy"
ITEM_VECTORS = "item_vectors.npy"
"""[m, d + 1] float32: unit vector, then the item's bias; the query's last component is the bias weight."""
PRERANK_VECTORS = "prerank_vectors.npy"
"""[m, dp] float16, read as float32: pages of these tables are most of what a worker holds."""
RANK_VECTORS = "rank_vectors.npy"
"""[m, dr] float16, read as float32: the projections of items that the ranker reads, of events and candidates
alike."""
POPULARITY = "popularity.npy"
"""[placements, m] float32: decayed event counts."""
CENTROIDS = "centroids.npy"
ASSIGNMENT = "assignment.npy"
INTEREST_LABELS = "interest_labels.json"
"""Per cluster the attribute values and the item rows that are typical of it; older bundles have none."""
NEIGHBOUR_ROWS = "neighbour_rows.npy"
NEIGHBOUR_SCORES = "neighbour_scores.npy"
PAIRS = "pairs.npz"
"""The scorer of trigger-target pairs: `first`, `bias`, `second`; without it neighbours are summed."""
FACTORS = "factors.npy"
"""[m, f] float32: item factors; absent where none were trained, as the two files below."""
FACTOR_INDEX = "factors.faiss"
FACTOR_CARD = "factors.json"
"""`alpha` and `l2`, with which a user's factors are solved."""
COMPLEMENT_IN = "complement_in.npy"
"""[m, dc] float32: how an item asks for its complements; absent where none were trained, as the two below."""
COMPLEMENT_OUT = "complement_out.npy"
"""[m, dc] float32: how an item answers as a complement."""
COMPLEMENT_INDEX = "complement.faiss"
SNAPSHOT_VECTORS = "snapshot_vectors.npy"
SNAPSHOT_CLUSTERS = "snapshot_clusters.npy"
SNAPSHOT_WEIGHTS = "snapshot_weights.npy"
SNAPSHOT_CENTROIDS = "snapshot_centroids.npy"
INDEX = "index.faiss"
INDEX_CARD = "index.json"
"""What the index is, how it is searched, and the recall that it promises (`retrieval.index_card`)."""
INDEX_PLOT = "index.png"
"""Recall against time of every setting that was tried, where the index was tuned."""
USER_TOWER = "user_tower.onnx"
PRERANKER = "preranker.onnx"
RANKER = "ranker.onnx"
RANKER_EXPLAIN = "ranker_explain.onnx"
"""The ranker's logits and how it came to them; older bundles have none."""
ITEM_TOWERS = "item_towers.onnx"
"""Content tokens of a new item -> its row in the three vector tables."""
QUERY_TOWER = "query_tower.onnx"
"""Hashed words of a search -> a query of the item index; a bundle without it searches by words alone."""
QUERY_TOKENS = "query_tokens.npy"
"""[2, buckets + 1] bool: words and n-grams that the query tower has met in training."""
TEXT_MODEL = "text_model"
"""Folder of the text model that the query tower reads with, in the layout of sentence-transformers; without
it the query tower reads hashed words."""
CALIBRATOR = "calibrator.json"
POSTERIOR = "posterior.json"
"""How sure click probabilities are (`ranking.thompson.Posterior`); older bundles have none."""
LEXICAL = "lexical"
"""Folder of the lexical index."""
PARITY = "parity.npz"


class BundleError(Exception):
    """A bundle that cannot be trusted; the message names the file and what differs."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What the manifest says of one file."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """What a bundle is, and how to know that it is whole. `version` names it in answers, logs and metrics."""

    version: str
    created: str
    dataset: Mapping[str, Any]
    schema_hash: str
    files: Mapping[str, FileEntry]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    software: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    graphs: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    """`inputs` and `outputs` of each graph, by the stem of its file; older bundles say nothing of them."""
    format: int = FORMAT


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or nothing: a temporary name beside it, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
            os.fchmod(stream.fileno(), 0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write indented, sorted JSON whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `target` when the block succeeds, and vanishes when it fails.

    Raises:
        FileExistsError: `target` exists already.
    """
    if target.exists():
        raise FileExistsError(f"{target} exists already; remove it or choose another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        yield temporary
        for path in sorted(temporary.rglob("*")):
            if path.is_file():
                _fsync(path)
        temporary.chmod(0o755)
        temporary.rename(target)
        _fsync(target.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a folder whose files are all in place."""
    write_json(folder / MANIFEST, asdict(manifest))


def list_files(folder: Path) -> dict[str, FileEntry]:
    """Every file below `folder` but the manifest, by its relative name."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return {
        name: FileEntry(sha256_file(folder / name), (folder / name).stat().st_size)
        for name in names
        if name != MANIFEST
    }


def read_manifest(folder: Path) -> Manifest:
    """Read a bundle's manifest.

    Raises:
        BundleError: there is none, it is no JSON of this format, or a key is missing or unknown.
    """
    path = folder / MANIFEST
    try:
        raw = json.loads(path.read_bytes())
        if raw.get("format") != FORMAT:
            raise BundleError(f"{path}: format {raw.get('format')!r}; this version of cascada reads {FORMAT}")
        files = {name: FileEntry(**entry) for name, entry in raw.pop("files").items()}
        return Manifest(files=files, **raw)
    except FileNotFoundError:
        raise BundleError(f"{folder}: no {MANIFEST}; is this a bundle folder?") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: not a bundle manifest: {error}") from error


def verify(folder: Path) -> Manifest:
    """Read the manifest and compare every file with its hash.

    Raises:
        BundleError: names the first file that is missing or differs, with both hashes.
    """
    manifest = read_manifest(folder)
    for name, entry in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{path}: missing; the manifest lists it with sha256 {entry.sha256}")
        actual = sha256_file(path)
        if actual != entry.sha256:
            raise BundleError(f"{path}: sha256 is {actual}, the manifest says {entry.sha256}")
    return manifest


def half(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
    """Vectors rounded to 11 bits each, in half the memory.

    Raises:
        ValueError: a component is not finite, or too large for half precision (65,504).
    """
    with np.errstate(over="ignore"):
        halves = vectors.astype(np.float16)
    if not is_finite(halves):
        raise ValueError(
            "a component of a vector table is not finite or beyond 65,504, the most that it can hold"
        )
    return halves


def is_finite(halves: NDArray[np.floating[Any]]) -> bool:
    """Whether a table of half precision is all numbers; nothing is copied."""
    # Of what is not finite all exponent bits are set, which makes it the largest of its sign.
    positive, negative = halves.view(np.int16).max(initial=0), halves.view(np.uint16).max(initial=0)
    return bool(positive < _INFINITE and negative < _INFINITE | 0x8000)


def rounded(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Vectors as a table of half precision will give them back.

    Raises:
        ValueError: as `half` does.
    """
    return single(half(vectors))


def taken(table: NDArray[np.floating[Any]], rows: NDArray[Any]) -> NDArray[np.float32]:
    """The vectors of `rows` (any shape) of a table [m, d] of single or half precision: [*rows.shape, d]."""
    return single(table.take(rows, axis=0))


def single(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Halves as float32, bit for bit what a cast gives, in a fraction of the time; other kinds are cast.

    Sign, exponent and mantissa are moved to where float32 has them; 2^112 makes up for the other bias. That
    makes large numbers of what is not finite: who writes or opens a table makes sure that nothing is.
    """
    if vectors.dtype != np.float16:
        return vectors.astype(np.float32, copy=False)
    bits = vectors.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _SINGLE_BITS
    singles = bits.view(np.float32)
    singles *= _SINGLE_SCALE
    return singles


_SINGLE_BITS = np.int32(0x8FFFE000 - (1 << 32))
_SINGLE_SCALE = np.float32(2.0**112)
_INFINITE = 0x7C00
"""The half that is infinite; above it are those that are no number."""


def write_strings(folder: Path, stem: str, values: list[str]) -> None:
    """Write a string column as one UTF-8 blob and n + 1 offsets, so that it can be memory-mapped."""
    encoded = [value.encode() for value in values]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(value) for value in encoded], out=offsets[1:])
    np.save(folder / f"{stem}.offsets.npy", offsets)
    np.save(folder / f"{stem}.blob.npy", np.frombuffer(b"".join(encoded), np.uint8))


class StringColumn:
    """A read-only column of n strings over a memory-mapped blob."""

    def __init__(self, blob: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self.arrays = (blob, offsets)
        """The bytes of all strings, and where each begins and the last ends."""
        self._blob = memoryview(blob)  # type: ignore[arg-type]
        self._bytes = np.asarray(blob)
        self._offsets = offsets

    @classmethod
    def open(cls, folder: Path, stem: str) -> StringColumn:
        """Map the column `stem` of a bundle folder."""
        offsets = np.asarray(np.load(folder / f"{stem}.offsets.npy", mmap_mode="r"))
        blob = np.load(folder / f"{stem}.blob.npy", mmap_mode="r")
        return cls(blob, offsets)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> str:
        return str(self._blob[self._offsets[row] : self._offsets[row + 1]], "utf-8")

    def take(self, rows: NDArray[np.integer]) -> list[str]:
        """The strings of `rows` [n]."""
        blob = self._blob
        ends = zip(self._offsets[rows].tolist(), self._offsets[rows + 1].tolist(), strict=True)
        return [blob[start:end].tobytes().decode() for start, end in ends]

    def equal(self, rows: NDArray[np.integer], encoded: Sequence[bytes]) -> NDArray[np.bool_]:
        """Whether the string of each of `rows` [n] has these UTF-8 bytes; all are compared at once."""
        sizes = np.fromiter(map(len, encoded), np.int64, len(encoded))
        begins = self._offsets[rows]
        same: NDArray[np.bool_] = self._offsets[rows + 1] - begins == sizes
        if not every(same):
            encoded, sizes = list(compress(encoded, same.tolist())), np.where(same, sizes, 0)
        ends = np.cumsum(sizes)
        text = np.frombuffer(b"".join(encoded), np.uint8)
        places = np.arange(len(text)) + np.repeat(begins - ends + sizes, sizes)
        other = np.flatnonzero(self._bytes[places] != text)
        same[np.searchsorted(ends, other, "right")] = False
        return same

    def raw(self) -> Iterator[memoryview]:
        """The UTF-8 bytes of each string, in row order; nothing is copied."""
        for a, b in pairwise(self._offsets.tolist()):
            yield self._blob[a:b]

    def tolist(self) -> list[str]:
        """All strings, in row order."""
        text = bytes(self._blob)
        ends = self._offsets.tolist()
        return [text[a:b].decode() for a, b in pairwise(ends)]


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
