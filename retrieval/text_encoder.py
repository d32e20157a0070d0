"""A sentence-transformers model as ONNX: texts to vectors, from files alone; nothing is ever fetched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models import artifacts
from models.artifacts import BundleError
from models.graph import open_session
from models.text import MOST_LETTERS
from retrieval.text_model_card import TOKENIZER, WHOLE, Pooling, TextModelCard

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Floats = NDArray[np.float32]

BATCH = 32
EXTRA = "text"
"""The extra of cascada that brings the package `tokenizers`."""
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_BY_TOKEN = ("token_embeddings", "last_hidden_state")
_INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_UNKNOWN = ("[UNK]", "<unk>")


class TextEncoder:
    """Texts -> vectors [n, width], frozen as they came. Safe to use from several threads."""

    def __init__(
        self, card: TextModelCard, tokenizer: Tokenizer, session: onnxruntime.InferenceSession
    ) -> None:
        self.card = card
        self._tokenizer = tokenizer
        self._session = session
        padding = tokenizer.padding or {}
        self._pad: int = padding.get("pad_id", 0)
        unknown = (tokenizer.token_to_id(name) for name in _UNKNOWN)
        self._unknown = [token for token in unknown if token is not None]
        # The file may pad every text to the model's full length, which would cost as much.
        tokenizer.no_padding()
        tokenizer.enable_truncation(card.tokens)
        self._inputs = self._checked_inputs()
        self._output = self._chosen_output()
        self._mode: Pooling | None = None if self._output == WHOLE else card.mode()
        self.width = self._tried()
        """Components of a vector."""

    @classmethod
    def open(cls, folder: Path, *, threads: int = 1) -> TextEncoder:
        """Open a folder in the layout of sentence-transformers.

        Raises:
            BundleError: the folder is not one, its graph has other inputs or outputs, or the package
                `tokenizers` is missing; the message names the file, or the extra.
        """
        card = TextModelCard.read(folder)
        return cls(card, _tokenizer(folder / TOKENIZER), open_session(card.graph, threads=threads))

    @classmethod
    def within(cls, folder: Path, *, threads: int = 1) -> TextEncoder | None:
        """The encoder that a run or a bundle carries; None where it has none.

        Raises:
            BundleError: see `open`.
        """
        inside = folder / artifacts.TEXT_MODEL
        return cls.open(inside, threads=threads) if inside.exists() else None

    def vector(self, text: str) -> Floats | None:
        """The vector [width] of a text; None where it has no token that the tokenizer knows."""
        ids, special = self._read(text)
        if not any(not mark and token not in self._unknown for token, mark in zip(ids, special, strict=True)):
            return None
        found: Floats = self._run([ids])[0]
        return found

    def encode(self, texts: Sequence[str]) -> Floats:
        """The vectors [n, width] of n texts, in batches of about equal lengths."""
        ids = [self._read(text)[0] for text in texts]
        order = np.argsort([len(each) for each in ids], kind="stable")
        out = np.zeros((len(texts), self.width), np.float32)
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            out[places] = self._run([ids[place] for place in places.tolist()])
        return out

    def _read(self, text: str) -> tuple[list[int], list[int]]:
        """Token ids of a text, and 1 at the model's own marks; at least one token, at most the card's."""
        text = text[:MOST_LETTERS].encode("utf-8", "replace").decode()
        found = self._tokenizer.encode(text.lower() if self.card.lower else text)
        return (found.ids, found.special_tokens_mask) if found.ids else ([self._pad], [1])

    def _run(self, ids: Sequence[Sequence[int]]) -> Floats:
        width = max(map(len, ids))
        tokens = np.full((len(ids), width), self._pad, np.int64)
        mask = np.zeros((len(ids), width), np.int64)
        for row, each in enumerate(ids):
            tokens[row, : len(each)] = each
            mask[row, : len(each)] = 1
        given = dict(zip(_INPUTS, (tokens, mask, np.zeros_like(tokens)), strict=True))
        feeds = {name: given[name].astype(kind, copy=False) for name, kind in self._inputs.items()}
        found = np.asarray(self._session.run([self._output], feeds)[0], np.float32)
        return self._pooled(found, mask.astype(np.float32))

    def _pooled(self, found: Floats, mask: Floats) -> Floats:
        """Vectors [n, e] of what the graph gave: those of tokens [n, T, e], or of whole texts [n, e]."""
        if self._mode == "mean":
            found = np.einsum("nte,nt->ne", found, mask) / np.maximum(mask.sum(1), 1.0)[:, None]
        elif self._mode == "cls":
            found = found[:, 0]
        if self.card.unit:
            found = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return found.astype(np.float32, copy=False)

    def _checked_inputs(self) -> dict[str, Any]:
        kinds = {each.name: each.type for each in self._session.get_inputs()}
        if set(kinds) - set(_INPUTS) or set(_INPUTS[:2]) - set(kinds):
            raise BundleError(
                f"{self.card.graph}: has the inputs {', '.join(kinds)}; expected are {_INPUTS[0]}, "
                f"{_INPUTS[1]} and perhaps {_INPUTS[2]}"
            )
        for name, kind in kinds.items():
            if kind not in _INTEGERS:
                raise BundleError(f"{self.card.graph}: {name} is a {kind}; integers are expected")
        return {name: _INTEGERS[kind] for name, kind in kinds.items()}

    def _chosen_output(self) -> str:
        names = [each.name for each in self._session.get_outputs()]
        known = [name for name in (WHOLE, *_BY_TOKEN) if name in names]
        if not known:
            raise BundleError(
                f"{self.card.graph}: has the outputs {', '.join(names)}; expected is one of {WHOLE}, "
                f"{', '.join(_BY_TOKEN)}"
            )
        return known[0]

    def _tried(self) -> int:
        """Run one text, so that a graph that does not fit its tokenizer is refused now."""
        try:
            found = self._run([self._read("a text")[0]])
        except Exception as error:  # the runtime's errors have no parent of their own
            reason = str(error).splitlines()[0]
            raise BundleError(f"{self.card.graph}: does not take tokens of {TOKENIZER}: {reason}") from error
        if found.ndim != 2 or not np.isfinite(found).all():
            raise BundleError(
                f"{self.card.graph}: {self._output} makes {list(found.shape)} of one text; one finite vector "
                "is expected"
            )
        return int(found.shape[1])


def _tokenizer(path: Path) -> Tokenizer:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise BundleError(
            f"{path}: reading it needs the package tokenizers; it comes with `pip install 'cascada[{EXTRA}]'`"
        ) from error
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises bare exceptions
        raise BundleError(f"{path}: not a tokenizer that the package tokenizers reads: {error}") from error
