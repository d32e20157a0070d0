from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from models.artifacts import BundleError
from retrieval.text_encoder import TextEncoder
from retrieval.text_model_card import MOST_TOKENS
from tests.support.text_model import WIDTH, vocabulary, write_text_model
from tests.support.tiny_graphs import write_user_tower

TOKENS = vocabulary()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text_model(tmp_path_factory.mktemp("models") / "tiny")


def by_hand(folder: Path, words: str) -> np.ndarray:
    """The vectors [T, WIDTH] of the marks and words, straight from the runtime."""
    ids = np.array([[2, *(TOKENS[word] for word in words.split()), 3]])
    session = onnxruntime.InferenceSession(folder / "onnx" / "model.onnx")
    return session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0]


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_text_is_its_pooled_tokens(tmp_path: Path, pooling: str, unit: bool) -> None:
    folder = write_text_model(tmp_path / "m", pooling=pooling, unit=unit)
    states = by_hand(folder, "quick car")
    expected = states.mean(axis=0) if pooling == "mean" else states[0]
    expected = expected / np.linalg.norm(expected) if unit else expected
    found = TextEncoder.open(folder).vector("Quick car")
    assert found is not None
    assert found.shape == (WIDTH,)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_graph_that_pools_by_itself_needs_no_other_files(tmp_path: Path, folder: Path) -> None:
    whole = write_text_model(tmp_path / "whole", whole=True)
    found = TextEncoder.open(whole).vector("merry ocean")
    assert found is not None
    np.testing.assert_allclose(found, by_hand(folder, "merry ocean").mean(axis=0), rtol=1e-4, atol=1e-5)


def test_texts_together_are_texts_alone(folder: Path) -> None:
    encoder = TextEncoder.open(folder)
    texts = ["quick", "", "a big old automobile of the sea", *(f"{word} ship" for word in TOKENS), "zzyzx"]
    together = encoder.encode(texts)
    assert together.shape == (len(texts), WIDTH)
    for text, row in zip(texts, together, strict=True):
        np.testing.assert_allclose(encoder.encode([text])[0], row, rtol=1e-4, atol=1e-5)
    assert encoder.encode([]).shape == (0, WIDTH)


def test_words_that_mean_the_same_are_near(folder: Path) -> None:
    one, same, other = TextEncoder.open(folder).encode(["quick car", "rapid automobile", "sad doctor"])
    assert one @ same > 0.95
    assert one @ other < 0.6


@pytest.mark.parametrize("text", ["", " \n", "zzyzx", "...", "日本"])
def test_nothing_known_is_no_vector(folder: Path, text: str) -> None:
    assert TextEncoder.open(folder).vector(text) is None


@pytest.mark.parametrize("text", ["quick \ud800 car", "car\x00", "CAR 🚗"])
def test_any_text_can_be_read(folder: Path, text: str) -> None:
    found = TextEncoder.open(folder).vector(text)
    assert found is not None
    assert np.isfinite(found).all()


def test_so_many_tokens_are_read_and_no_more(tmp_path: Path, folder: Path) -> None:
    encoder = TextEncoder.open(folder)
    assert encoder.card.tokens == 48
    long = "car " * 2500
    found = encoder.vector(long)
    np.testing.assert_allclose(found, encoder.vector("car " * 46), rtol=1e-5)
    assert np.abs(found - encoder.vector("car " * 45)).max() > 1e-5
    wide = shutil.copytree(folder, tmp_path / "wide")
    (wide / "sentence_bert_config.json").write_text('{"max_seq_length": 512}')
    assert TextEncoder.open(wide).card.tokens == MOST_TOKENS


def test_a_long_word_costs_no_more(folder: Path) -> None:
    assert TextEncoder.open(folder).vector("x" * 10_000 + " car") is None


def swap(name: str, text: str | None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink() if text is None else (folder / name).write_text(text)

    return change


def other_graph(folder: Path) -> None:
    write_user_tower(folder / "onnx" / "model.onnx", 8)


def dense(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    more = {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"}
    (folder / "modules.json").write_text(json.dumps([*modules, more]))


def small_table(folder: Path) -> None:
    """A tokenizer of another model, which knows tokens that the graph does not."""
    raw = json.loads((folder / "tokenizer.json").read_text())
    raw["model"]["vocab"] |= {"a": 5000, "text": 5001}
    (folder / "tokenizer.json").write_text(json.dumps(raw))


@pytest.mark.parametrize(
    ("spoil", "file", "says"),
    [
        (swap("tokenizer.json", None), "tokenizer.json", "fast tokenizer is expected"),
        (swap("tokenizer.json", "{}"), "tokenizer.json", "not a tokenizer"),
        (
            swap("onnx/model.onnx", None),
            "",
            "neither model.onnx nor onnx/model.onnx; `optimum-cli export onnx",
        ),
        (swap("onnx/model.onnx", "text"), "onnx/model.onnx", "not a readable ONNX graph"),
        (other_graph, "onnx/model.onnx", "expected are input_ids, attention_mask and perhaps token_type_ids"),
        (small_table, "onnx/model.onnx", "does not take tokens of tokenizer.json"),
        (swap("1_Pooling/config.json", None), "1_Pooling/config.json", "have to be pooled"),
        (
            swap("1_Pooling/config.json", '{"pooling_mode_max_tokens": true}'),
            "1_Pooling/config.json",
            "pools by ['max_tokens']; mean or cls is expected",
        ),
        (swap("1_Pooling/config.json", "[]"), "1_Pooling/config.json", "an object is expected"),
        (swap("modules.json", '[{"idx": 0}]'), "modules.json", "a list of modules with type and path"),
        (swap("modules.json", '[{"type": "a.Pooling", "path": "../x"}]'), "modules.json", "within this one"),
        (dense, "modules.json", "has Dense, before which model.onnx ends"),
        (swap("sentence_bert_config.json", '{"max_seq_length": "x"}'), "sentence_bert_config.json", "tokens"),
    ],
)
def test_a_folder_that_does_not_fit_is_named(
    tmp_path: Path, folder: Path, spoil: Callable[[Path], None], file: str, says: str
) -> None:
    spoilt = shutil.copytree(folder, tmp_path / "spoilt")
    spoil(spoilt)
    with pytest.raises(BundleError) as told:
        TextEncoder.open(spoilt)
    assert str(told.value).startswith(f"{spoilt / file}: ")
    assert says in str(told.value)


def test_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nowhere: no such folder; a sentence-transformers model"):
        TextEncoder.open(tmp_path / "nowhere")


def test_the_newer_way_to_name_the_pooling_is_read(tmp_path: Path, folder: Path) -> None:
    newer = shutil.copytree(folder, tmp_path / "newer")
    (newer / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls", "include_prompt": true}')
    found = TextEncoder.open(newer).encode(["quick car"])[0]
    expected = by_hand(newer, "quick car")[0]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), rtol=1e-4, atol=1e-5)


def test_without_the_package_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(BundleError, match=r"needs the package tokenizers.*pip install 'cascada\[text\]'"):
        TextEncoder.open(folder)
