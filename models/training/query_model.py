"""A trained query tower with what it reads of a text: hashed words, or the vector of a text model."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn

from models import artifacts
from models.artifacts import BundleError
from models.networks.query_tower import QueryTower
from models.networks.text_tower import TextTower
from models.text import encode_texts
from models.training.config import ConfigError, QueryConfig
from retrieval.query_tower import Encoded, Hashes, Reader
from retrieval.text_encoder import TextEncoder

Floats = NDArray[np.float32]

NAME = Path(artifacts.QUERY_TOWER).stem


class QueryModel(ABC):
    """A trained query tower, for texts as serving reads them."""

    tower: nn.Module

    @property
    @abstractmethod
    def reader(self) -> Reader:
        """What reads a text at serving."""

    @abstractmethod
    def inputs(self, texts: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The tower's inputs for n texts."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the network and what it reads with."""

    def probes(self, texts: Sequence[str]) -> dict[str, NDArray[Any]]:
        """What serving compares beside the graph before it trusts a bundle, by name; nothing for hashes."""
        return {}

    def vectors(self, texts: Sequence[str]) -> Floats:
        """Query vectors [n, d + 1]."""
        given = {name: torch.from_numpy(value) for name, value in self.inputs(texts).items()}
        with torch.no_grad():
            found: Floats = self.tower.eval()(**given).numpy()
        return found

    @classmethod
    def load(cls, folder: Path, config: QueryConfig, dim: int) -> QueryModel | None:
        """What `save` wrote; None where the run is of a time when there was no query tower.

        Raises:
            RuntimeError: the network has other tensors.
            BundleError: its text model cannot be read.
        """
        path = folder / f"{NAME}.safetensors"
        if not path.exists():
            return None
        encoder = TextEncoder.within(folder)
        model = untrained(config, dim, encoder)
        if isinstance(model, HashedQuery):
            model = HashedQuery(model.tower, np.load(folder / artifacts.QUERY_TOKENS))
        model.tower.load_state_dict(load_file(path))
        model.tower.eval()
        return model


@dataclass(frozen=True)
class HashedQuery(QueryModel):
    """It reads hashed words and n-grams, of which `known` [2, buckets + 1] were met in training."""

    tower: QueryTower
    known: NDArray[np.bool_]

    @property
    def reader(self) -> Reader:
        """What reads a text at serving."""
        return Hashes(self.known)

    def inputs(self, texts: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Word tokens [n, W] and gram tokens [n, G] that are known."""
        words, grams = encode_texts(texts, self.known.shape[1] - 1)
        return {
            "words": np.where(self.known[0][words], words, 0),
            "grams": np.where(self.known[1][grams], grams, 0),
        }

    def save(self, folder: Path) -> None:
        """Write the network and what it has met."""
        save_file(self.tower.state_dict(), folder / f"{NAME}.safetensors")
        np.save(folder / artifacts.QUERY_TOKENS, self.known)


@dataclass(frozen=True)
class EncodedQuery(QueryModel):
    """It reads the vectors of a frozen text model."""

    tower: TextTower
    encoder: TextEncoder

    @property
    def reader(self) -> Reader:
        """What reads a text at serving."""
        return Encoded(self.encoder)

    def inputs(self, texts: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The text model's vectors [n, e]."""
        return {"embedding": self.encoder.encode(texts)}

    def probes(self, texts: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The texts, and the text model's vectors [n, e] of them."""
        name = artifacts.TEXT_MODEL
        return {f"{name}/texts": np.array(texts), f"{name}/vectors": self.encoder.encode(texts)}

    def save(self, folder: Path) -> None:
        """Write the network, and copy the text model's files under `TEXT_MODEL`."""
        save_file(self.tower.state_dict(), folder / f"{NAME}.safetensors")
        card = self.encoder.card
        for path in card.files():
            target = folder / artifacts.TEXT_MODEL / path.relative_to(card.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def untrained(config: QueryConfig, dim: int, encoder: TextEncoder | None) -> HashedQuery | EncodedQuery:
    """The model at its start, for items of `dim` dimensions; it has met nothing yet."""
    rest = (dim, config.hidden, config.dropout, config.temperature)
    if encoder is not None:
        return EncodedQuery(TextTower(encoder.width, *rest), encoder)
    return HashedQuery(QueryTower(config.buckets, *rest), np.zeros((2, config.buckets + 1), bool))


def text_model(config: QueryConfig, threads: int) -> TextEncoder | None:
    """The text model that the configuration names; None where it names none.

    Raises:
        ConfigError: the folder is none that can be used; the message names the file and what is expected.
    """
    if config.text_model is None:
        return None
    try:
        return TextEncoder.open(Path(config.text_model), threads=threads)
    except BundleError as error:
        raise ConfigError(f"query.text_model: {error}") from error
