"""What serving computes for a request is what training computed for it: features, logits, probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from models.data.columns import Dataset
from models.data.splits import leave_last_out
from models.encode import CROSS
from models.training.features import Features
from models.training.funnel import Funnel, Pool
from models.training.timeline import Requests
from service.bundle import Bundle
from service.cascade.candidates import Candidates
from service.cascade.hydrate import Moment
from service.cascade.observe import NullObserver
from service.cascade.query import ItemId, Outcome, Request, SessionEvent, UserId
from service.engine import Engine
from service.features.store import UserRecord
from tests.support.trained import TrainedWorld

USERS = 25


class Worlds:
    """The same users in both worlds."""

    def __init__(self, world: TrainedWorld) -> None:
        self.world = world
        trained = world.trained
        self.features = Features.of(world.dataset, trained.schema)
        self.funnel = Funnel(
            self.features,
            trained.encoders.towers,
            trained.encoders.preranker,
            trained.encoders.space,
            trained.tables,
            trained.snapshot,
            trained.plan,
            trained.scorer,
        )
        self.engine = Engine.build(Bundle.open(world.bundle), NullObserver())
        requests = self.features.timeline.requests(leave_last_out(world.dataset).test)
        self.requests = requests.at(np.linspace(0, len(requests) - 1, USERS).astype(np.int64))

    def serve(self, r: int, session: int = 0) -> tuple[Outcome, Candidates]:
        """Ask the engine as user `r` at the request's moment, the newest `session` events sent along.

        Returns the answer, and the candidates that were ranked.
        """
        request, record = as_called(
            self.world.dataset, self.features, self.requests.at(slice(r, r + 1)), session
        )
        moment = Moment("r-1", int(self.requests.now_ms[r]))
        ranked: dict[str, Candidates] = {}
        outcome = self.engine.run(
            self.engine.hydrate(request, record, moment), lambda name, batch: ranked.update({name: batch})
        )
        assert outcome.degraded == ()
        return outcome, ranked["rank"]


def as_called(
    dataset: Dataset, features: Features, one: Requests, session: int
) -> tuple[Request, UserRecord]:
    """A request of the training world as a caller would make it, all ids strings."""
    timeline = features.timeline
    places = range(int(one.begin[0]), int(one.end[0]))
    items = [ItemId(dataset.item_ids[timeline.item[place]]) for place in places]
    kinds = [dataset.event_kinds[timeline.kind[place] - 1] for place in places]
    times = [int(timeline.time_ms[place]) for place in places]
    user = int(one.user[0])
    stored = len(items) - session
    sent: Sequence[SessionEvent] = [
        SessionEvent(*event) for event in zip(items[stored:], kinds[stored:], times[stored:], strict=True)
    ]
    record = UserRecord(
        dataset.user_records[user], items[:stored], kinds[:stored], times[:stored], known=True
    )
    return Request(user_id=UserId(dataset.user_ids[user]), session=sent, count=20), record


@pytest.fixture(scope="module")
def worlds(trained_world: TrainedWorld) -> Worlds:
    return Worlds(trained_world)


ROUNDED = dict.fromkeys(CROSS, 1e-4) | {"prerank": 1e-3}
"""Relative tolerance by feature; the bundle keeps the pre-ranker's vectors in half precision."""


@pytest.mark.parametrize("session", [0, 2])
def test_every_cross_feature_is_the_one_that_the_ranker_was_trained_on(worlds: Worlds, session: int) -> None:
    for r in range(USERS):
        _, served = worlds.serve(r, session)
        trained = worlds.funnel.cross_of(worlds.requests.at(slice(r, r + 1)), served.rows[None])[0]
        assert len(served) == worlds.engine.plan.ranked
        for column, name in enumerate(CROSS):
            np.testing.assert_allclose(
                served[name], trained[:, column], rtol=ROUNDED[name], atol=1e-4, err_msg=f"{name}, user {r}"
            )


@pytest.fixture(scope="module")
def single(trained_world: TrainedWorld) -> Worlds:
    """The bundle with its ranker in single precision, as the graph that explains it has it."""
    worlds = Worlds(trained_world)
    bundle = worlds.engine.bundle
    assert bundle.ranker_explain is not None
    worlds.engine = Engine.build(replace(bundle, ranker=bundle.ranker_explain), NullObserver())
    return worlds


@pytest.mark.parametrize(("form", "near"), [("single", 5e-3), ("worlds", 3e-2)], ids=["single", "8 bits"])
def test_every_logit_and_probability_is_the_trained_rankers(
    form: str, near: float, request: pytest.FixtureRequest
) -> None:
    worlds: Worlds = request.getfixturevalue(form)
    trained = worlds.world.trained
    for r in range(USERS):
        one = worlds.requests.at(slice(r, r + 1))
        _, served = worlds.serve(r)
        cross = worlds.funnel.cross_of(one, served.rows[None])[0]
        pool = Pool(served.rows, cross, cross[0], 0)
        logits = trained.ranker.logits(worlds.features.batch(one), [pool], len(served))[0]
        np.testing.assert_allclose(served["rank"], logits, rtol=near, atol=near)
        np.testing.assert_allclose(served["pctr"], trained.calibrator(logits), rtol=2 * near, atol=1e-5)


def test_serving_proposes_what_the_funnel_proposes(worlds: Worlds) -> None:
    """The funnel keeps the whole union; serving cuts it, and adds new items that training has not."""
    shares = []
    for r, pool in enumerate(worlds.funnel.pools(worlds.requests, "candidates")):
        _, served = worlds.serve(r)
        shares.append(np.isin(served.rows, pool.rows).mean())
    assert np.mean(shares) > 0.9


def test_a_feature_that_training_reads_differently_would_be_noticed(worlds: Worlds) -> None:
    """The comparison has teeth: a user whose newest event is missing gets other features."""
    one = worlds.requests.at(slice(0, 1))
    _, served = worlds.serve(0)
    late = replace(one, end=one.end - 1)
    trained = worlds.funnel.cross_of(late, served.rows[None])[0]
    for column, name in enumerate(CROSS):
        same = np.allclose(served[name], trained[:, column], rtol=1e-4, atol=1e-4)
        assert same == (name == "popular"), name
