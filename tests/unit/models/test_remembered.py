from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.graph import Graph
from models.remembered import Remembering
from tests.unit.graphs import summed_events


def events(*rows: float) -> NDArray[np.float32]:
    return np.array([[[row] * 3 for row in rows]], np.float32)


def remembering(most: int) -> tuple[Remembering, list[bool]]:
    heard: list[bool] = []
    return Remembering(Graph.open(summed_events()), most, heard.append), heard


def test_the_same_numbers_have_the_same_answer_and_others_their_own() -> None:
    graph, heard = remembering(10)
    first = graph.run(events=events(1, 2))

    assert graph.run(events=events(1, 2)).tobytes() == first.tobytes() == events(3)[0].tobytes()
    assert graph.run(events=events(1, 4)).tolist() == events(5)[0].tolist()
    assert graph.run(events=events(1, 2, 0)).tolist() == events(3)[0].tolist()
    assert heard == [False, True, False, False]


def test_the_one_that_was_asked_for_longest_ago_is_forgotten() -> None:
    graph, heard = remembering(2)
    for number in (1, 2, 1, 3, 1, 2):
        assert graph.run(events=events(number)).tolist() == events(number)[0].tolist()
    assert heard == [False, False, True, False, True, False]


def test_nobody_can_change_what_is_remembered() -> None:
    graph, _ = remembering(2)
    with pytest.raises(ValueError, match="read-only"):
        graph.run(events=events(1))[0, 0] = 7


def test_inputs_that_the_graph_does_not_read_do_not_count() -> None:
    graph, heard = remembering(2)
    for profile in (1, 2):
        graph.run(events=events(1), profile=np.array([[profile]]))
    assert heard == [False, True]
