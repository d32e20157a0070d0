"""A real, tiny text model in the layout of sentence-transformers: it knows which words mean the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn

from models.export.translate import Axes, Blueprint, translate

WIDTH = 32
ADJECTIVES = (
    ("quick", "rapid"), ("big", "large"), ("tiny", "little"), ("happy", "merry"), ("sad", "sorrowful"),
    ("cold", "chilly"), ("old", "ancient"), ("wise", "clever"), ("brave", "fearless"), ("quiet", "silent"),
    ("odd", "strange"), ("rich", "wealthy"),
)  # fmt: skip
NOUNS = (
    ("car", "automobile"), ("ship", "vessel"), ("house", "dwelling"), ("doctor", "physician"),
    ("forest", "woods"), ("road", "street"), ("stone", "rock"), ("child", "kid"), ("film", "movie"),
    ("shop", "boutique"), ("gift", "present"), ("sea", "ocean"), ("thief", "burglar"),
)  # fmt: skip
"""Pairs of words that mean the same: titles have the first ones."""
MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def title(row: int) -> str:
    """The title of an item: an adjective and a noun, no two alike up to row 155."""
    return " ".join((ADJECTIVES[row // len(NOUNS)][0], NOUNS[row % len(NOUNS)][0]))


def paraphrase(row: int) -> str:
    """The same in other words, none of which is in any title."""
    return " ".join((ADJECTIVES[row // len(NOUNS)][1], NOUNS[row % len(NOUNS)][1]))


class Encoder(nn.Module):
    """Embeddings of T tokens and one layer of masked attention over them: [B, T, WIDTH]."""

    def __init__(self, concepts: Sequence[int]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        table = torch.randn(max(concepts) + 1, WIDTH, generator=generator)
        noise = torch.randn(len(concepts), WIDTH, generator=generator)
        self.embedding = nn.Embedding.from_pretrained(table[torch.tensor(concepts)] + 0.05 * noise)
        self.mix = nn.Parameter(torch.randn(3, WIDTH, WIDTH, generator=generator) / WIDTH**0.5)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Encode."""
        states: Tensor = self.embedding(input_ids)
        query, key, value = (states @ weights for weights in self.mix)
        scores = query @ key.transpose(1, 2) / WIDTH**0.5
        scores = scores + (1 - attention_mask.to(scores.dtype))[:, None, :] * -1e4
        return states + 0.3 * scores.softmax(-1) @ value


class Sentence(nn.Module):
    """The same, pooled to one vector per text, as `optimum-cli` exports it."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode: [B, T, WIDTH] and [B, WIDTH]."""
        states = self.encoder(input_ids, attention_mask)
        mask = attention_mask.to(states.dtype).unsqueeze(-1)
        return states, (states * mask).sum(1) / mask.sum(1).clamp(min=1.0)


def vocabulary() -> dict[str, int]:
    """Every word and mark with its token."""
    words = [word for pair in (*ADJECTIVES, *NOUNS) for word in pair]
    return {word: token for token, word in enumerate((*MARKS, *words))}


def write_text_model(folder: Path, *, pooling: str = "mean", unit: bool = True, whole: bool = False) -> Path:
    """Write the model and return the folder; `whole` graphs pool by themselves, as those of `optimum-cli`."""
    target = folder / "model.onnx" if whole else folder / "onnx" / "model.onnx"
    target.parent.mkdir(parents=True)
    target.write_bytes(_graph(whole))
    _tokenizer().save(str(folder / "tokenizer.json"))
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 48, "do_lower_case": False})
    if whole:
        return folder
    kinds = ["Transformer", "Pooling", *(["Normalize"] if unit else [])]
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": f"{i}_{kind}" if i else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]
    _write(folder / "modules.json", modules)
    modes = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
    named = {f"pooling_mode_{name}": pooling == mode for mode, name in modes.items()}
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": WIDTH, **named})
    return folder


@cache
def _graph(whole: bool) -> bytes:
    words = (len(MARKS) + i // 2 for i in range(2 * (len(ADJECTIVES) + len(NOUNS))))
    encoder = Encoder([*range(len(MARKS)), *words])
    batch, tokens = torch.export.Dim("batch", max=1 << 12), torch.export.Dim("tokens", max=512)
    ids = torch.tensor([[2, 5, 30, 3], [2, 9, 3, 0]])
    recorded = {"input_ids": ids.numpy(), "attention_mask": (ids > 0).long().numpy()}
    axes: Axes = {name: {0: batch, 1: tokens} for name in recorded}
    module = Sentence(encoder) if whole else encoder
    outputs = ("token_embeddings", "sentence_embedding") if whole else ("last_hidden_state",)
    return translate(Blueprint("encoder", module, recorded, axes, outputs)).onnx


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(vocabulary(), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    # The hub's files often pad every text to the whole length.
    tokenizer.enable_padding(length=128, pad_id=0, pad_token="[PAD]")
    tokenizer.enable_truncation(128)
    return tokenizer


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))
