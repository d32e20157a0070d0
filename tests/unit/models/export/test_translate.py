import logging
import warnings

import numpy as np
import torch
from torch import nn

from models.encode import CROSS
from models.export.samples import sample_candidates, sample_history, sample_tokens
from models.export.translate import Blueprint, quiet, translate
from models.graph import Graph
from tests.support.networks import SCHEMA


class Sums(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.dropout(x + y), (x * y).sum(-1)


def test_a_module_becomes_a_graph_of_named_tensors_quietly(capfd, caplog):
    batch = torch.export.Dim("batch", max=100)
    recorded = {name: np.arange(12, dtype=np.float32).reshape(4, 3) for name in ("x", "y", "unused")}
    axes = {name: {0: batch} for name in recorded}
    with caplog.at_level(logging.DEBUG):
        exported = translate(Blueprint("sums", Sums(), recorded, axes, ("total", "inner")))
    graph = Graph.open(exported.onnx)
    assert (graph.inputs, graph.outputs) == (("x", "y"), ("total", "inner"))
    assert set(exported.inputs) == {"x", "y"}
    np.testing.assert_array_equal(exported.outputs["total"], 2 * recorded["x"])
    one = np.ones((1, 3), np.float32)
    assert graph.run_all(x=one, y=one)["inner"].tolist() == [3.0]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert capfd.readouterr().err == ""


def test_loggers_speak_again_afterwards():
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    with quiet():
        assert logger.level == logging.ERROR
        warnings.warn("nobody hears this", stacklevel=1)
    assert logger.level == before


class TestSamples:
    def test_histories_are_right_aligned_with_an_empty_and_a_full_one(self):
        inputs = sample_history(np.random.default_rng(0), SCHEMA, dim=4, users=20, steps=6)
        mask = inputs["mask"]
        assert mask.sum(axis=1)[[0, -1]].tolist() == [0, 6]
        assert (np.diff(mask.astype(int), axis=1) >= 0).all()
        for name in ("events", "kind", "gap", "age", "recent"):
            assert not inputs[name][~mask].any(), name
        assert inputs["kind"].max() <= len(SCHEMA.event_kinds)

    def test_of_one_user_the_history_is_full(self):
        assert sample_history(np.random.default_rng(0), SCHEMA, 4, 1, 6)["mask"].all()

    def test_candidates_and_tokens_have_the_shapes_of_the_graphs(self):
        random = np.random.default_rng(0)
        candidates = sample_candidates(random, 4, 9)
        assert candidates["candidates"].shape == (9, 5)
        assert candidates["cross"].shape == (9, len(CROSS))
        assert sample_tokens(random, SCHEMA.item_fields, 3).shape == (3, 7)
