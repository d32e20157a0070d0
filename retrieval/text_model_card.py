"""What a folder in the layout of sentence-transformers says of its model.

That is the layout of the hub's repositories and of `optimum-cli export onnx`: `tokenizer.json`, the graph
`model.onnx` or `onnx/model.onnx`, `modules.json`, `1_Pooling/config.json` and `sentence_bert_config.json`.
Nothing else of a folder is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from models.artifacts import BundleError

Pooling = Literal["mean", "cls"]

MOST_TOKENS = 64
"""Tokens of a text that are read, the model's own marks among them, where the model itself reads as many."""
TOKENIZER = "tokenizer.json"
GRAPHS = ("model.onnx", "onnx/model.onnx")
MODULES = "modules.json"
LIMITS = "sentence_bert_config.json"
WHOLE = "sentence_embedding"
"""The output of a graph that ends with the model, pooling and all."""
_POOLING = "1_Pooling"
_ADVICE = "`optimum-cli export onnx --model NAME FOLDER` writes a folder that fits"


@dataclass(frozen=True, slots=True)
class TextModelCard:
    """What the small files of a folder say: which graph, how tokens become one vector, how many are read."""

    folder: Path
    graph: Path
    pooling: Path
    """The pooling's configuration, which only a graph without `sentence_embedding` needs."""
    unit: bool
    """Whether vectors are brought to length 1."""
    others: tuple[str, ...]
    """Modules that are neither transformer, pooling nor normalisation."""
    tokens: int
    lower: bool

    @classmethod
    def read(cls, folder: Path) -> TextModelCard:
        """Read the card of a folder.

        Raises:
            BundleError: a file is missing or says something else; the message names it and what is expected.
        """
        if not folder.is_dir():
            raise BundleError(
                f"{folder}: no such folder; a sentence-transformers model is expected: {_ADVICE}"
            )
        graph = next((folder / name for name in GRAPHS if (folder / name).is_file()), None)
        if graph is None:
            raise BundleError(f"{folder}: neither {GRAPHS[0]} nor {GRAPHS[1]}; {_ADVICE}")
        if not (folder / TOKENIZER).is_file():
            raise BundleError(f"{folder / TOKENIZER}: missing; the file of a fast tokenizer is expected")
        modules = _modules(folder)
        limits = _json(folder / LIMITS, dict) if (folder / LIMITS).is_file() else {}
        most = limits.get("max_seq_length") or MOST_TOKENS
        if not isinstance(most, int) or most < 1:
            raise BundleError(f"{folder / LIMITS}: max_seq_length is {most!r}, not a number of tokens")
        return cls(
            folder,
            graph,
            folder / modules.get("Pooling", _POOLING) / "config.json",
            "Normalize" in modules,
            tuple(sorted(set(modules) - {"Transformer", "Pooling", "Normalize"})),
            min(most, MOST_TOKENS),
            bool(limits.get("do_lower_case", False)),
        )

    def files(self) -> Iterator[Path]:
        """Every file that the model is made of; weights that lie beside the graph have its name and more."""
        yield from sorted(self.graph.parent.glob(f"{self.graph.name}*"))
        for path in (self.folder / TOKENIZER, self.folder / MODULES, self.folder / LIMITS, self.pooling):
            if path.is_file():
                yield path

    def mode(self) -> Pooling:
        """How the vectors of tokens become one.

        Raises:
            BundleError: the configuration is missing, or says neither mean nor cls.
        """
        if self.others:
            raise BundleError(
                f"{self.folder / MODULES}: has {self.others[0]}, before which {self.graph.name} ends; export "
                f"the whole model, so that the graph has the output {WHOLE}: {_ADVICE}"
            )
        if not self.pooling.is_file():
            raise BundleError(
                f"{self.pooling}: missing; {self.graph.name} gives vectors of tokens, which have to be pooled"
            )
        raw = _json(self.pooling, dict)
        chosen = [raw["pooling_mode"]] if "pooling_mode" in raw else []
        chosen += [name.removeprefix("pooling_mode_") for name, on in raw.items() if on is True]
        names = {"mean": "mean", "mean_tokens": "mean", "cls": "cls", "cls_token": "cls"}
        known = [names.get(name, name) for name in chosen if name != "include_prompt"]
        if known == ["mean"]:
            return "mean"
        if known == ["cls"]:
            return "cls"
        raise BundleError(f"{self.pooling}: pools by {known or 'nothing'}; mean or cls is expected")


def _modules(folder: Path) -> dict[str, str]:
    """Folder of each module by its kind; without `modules.json` there is a pooling and nothing else."""
    path = folder / MODULES
    if not path.is_file():
        return {"Pooling": _POOLING}
    try:
        found = {str(one["type"]).rpartition(".")[2]: str(one["path"]) for one in _json(path, list)}
    except (KeyError, TypeError) as error:
        raise BundleError(f"{path}: a list of modules with type and path is expected: {error!r}") from error
    if outside := [at for at in found.values() if Path(at).is_absolute() or ".." in Path(at).parts]:
        raise BundleError(f"{path}: {outside[0]!r} is no folder within this one")
    return found


def _json(path: Path, kind: type) -> Any:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: {error}") from error
    if not isinstance(found, kind):
        raise BundleError(f"{path}: {'an object' if kind is dict else 'a list'} is expected")
    return found
