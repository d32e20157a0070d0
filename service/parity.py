"""The proof that graphs compute here what they computed at the export: recorded inputs, recorded answers."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifacts import TEXT_MODEL, BundleError
from models.graph import Graph
from retrieval.text_encoder import TextEncoder

RTOL = 1e-3
ATOL = 1e-4
LEAST_COSINE = 0.99
"""Of a text model, which may be quantised: those compute a little differently on each kind of CPU."""


def check_parity(path: Path, graphs: Mapping[str, Graph]) -> None:
    """Run every graph on its recorded inputs and compare; keys are "<graph>/<input or output>".

    Of a graph that rounds, "<graph>/tolerance" is what is allowed, relative to an output's largest value.

    Raises:
        BundleError: names the first tensor that is not recorded, or differs by more than rtol 1e-3, atol
        1e-4.
    """
    recorded = _read(path)
    for name, graph in graphs.items():
        for key in (*graph.inputs, *graph.outputs):
            if f"{name}/{key}" not in recorded:
                raise BundleError(f"{path}: no recorded {name}/{key}")
        answers = _run(path, name, graph, {key: recorded[f"{name}/{key}"] for key in graph.inputs})
        for key, answer in answers.items():
            allowed = recorded.get(f"{name}/tolerance")
            _compare(path, f"{name}/{key}", answer, recorded[f"{name}/{key}"], allowed)


def check_texts(path: Path, encoder: TextEncoder) -> None:
    """Encode the recorded texts and compare directions: another tokenizer would say something else.

    Raises:
        BundleError: nothing is recorded, or a vector's cosine with the recorded one is below `LEAST_COSINE`.
    """
    recorded = _read(path)
    try:
        texts, expected = (recorded[f"{TEXT_MODEL}/{part}"] for part in ("texts", "vectors"))
    except KeyError as error:
        raise BundleError(f"{path}: no recorded {error}") from error
    found = encoder.encode(texts.tolist())
    if found.shape != expected.shape:
        raise BundleError(f"{path}: {TEXT_MODEL} is {list(found.shape)}, recorded {list(expected.shape)}")
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    cosines = (found * expected).sum(axis=1) / np.maximum(lengths, 1e-12)
    if (worst := float(cosines.min(initial=1.0))) < LEAST_COSINE:
        raise BundleError(
            f"{path}: {TEXT_MODEL} reads a text otherwise than was recorded, cosine {worst:.3g}; is the "
            "package tokenizers of the version that trained?"
        )


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path}: {error}") from error


def _run(path: Path, name: str, graph: Graph, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    try:
        return dict(graph.run_all(**inputs))
    except Exception as error:  # the runtime's errors have no parent of their own
        raise BundleError(f"{path}: {name} does not take its recorded inputs: {error}") from error


def _compare(
    path: Path, tensor: str, answer: NDArray[Any], expected: NDArray[Any], allowed: NDArray[Any] | None
) -> None:
    if answer.shape != expected.shape:
        raise BundleError(f"{path}: {tensor} is {list(answer.shape)}, recorded {list(expected.shape)}")
    rtol, atol = RTOL, ATOL
    if allowed is not None:
        rtol, atol = 0.0, float(allowed) * float(np.abs(expected).max(initial=0.0))
    if not np.allclose(answer, expected, rtol=rtol, atol=atol):
        worst = float(np.nanmax(np.abs(answer - expected), initial=0.0))
        raise BundleError(f"{path}: {tensor} differs from what was recorded by up to {worst:.3g}")
