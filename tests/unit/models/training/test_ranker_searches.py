"""What the ranker learns from searches, in a world where a word turns a user's taste round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.data.splits import leave_last_out
from models.data.vocabulary import build_schema
from models.encode import CROSS
from models.plan import Plan
from models.training.features import Features
from models.training.funnel import Pool
from models.training.ranker_searches import in_search
from models.training.run import train
from models.training.searches import searches_of, taken_before, validating
from tests.support.searching_world import CONFIG, Searching, searching, searching_world

__all__ = ["searching"]


def test_the_ranker_learns_what_a_word_means_to_a_user(searching: Searching) -> None:
    """The target is one of 20 items of a side, new to the user: who guesses the side has half of them."""
    told = searching.trained.metrics["validation"]
    assert told["searches"] > 100
    assert told["search_ndcg@10"] > told["search_ndcg@10_unread"] + 0.05
    ranker = searching.trained.ranker
    assert ranker.ranker.knows_queries.item() == 1
    assert ranker.unread is not None
    assert ranker.unread.ranker.knows_queries.item() == 0


def test_recommendations_are_no_worse_for_it(searching: Searching) -> None:
    ranker = searching.trained.ranker
    assert ranker.unread is not None
    final = searching.trained.metrics["validation"]["final_ndcg@10"]
    assert final > ranker.unread.best - 0.03


class TestHistories:
    """User 0 has events 0, 200, 400 ...: an event of every user an hour, step by step."""

    dataset = searching_world()
    split = leave_last_out(dataset)

    def test_a_click_is_in_no_history_of_its_own_search(self) -> None:
        features = Features.of(self.dataset, build_schema(self.dataset, self.split.train, history_length=16))
        asked = self.dataset.queries
        assert asked is not None
        longer, searches = searches_of(
            features, asked, np.zeros((len(asked), 3), np.float32), asked, self.split.train
        )
        seen = longer.timeline.seen(searches.requests)
        times = [
            longer.timeline.time_ms[begin:end]
            for begin, end in zip(searches.requests.begin, searches.requests.end, strict=True)
        ]
        held_out = {
            (int(self.dataset.event_user[e]), int(self.dataset.event_item[e]))
            for e in np.concatenate([self.split.validation, self.split.test])
        }
        for row, (history, when) in enumerate(zip(seen, times, strict=True)):
            user = int(asked.user[row])
            assert len(history) >= 9
            assert not np.isin(history, searches.taken[row]).any()
            assert (when < asked.time_ms[row]).all()
            assert not any((user, item) in held_out for item in history.tolist())
        batch = longer.batch(searches.requests)
        assert batch.rows[5][batch.mask[5]].tolist() == seen[5][-16:].tolist()

    def test_the_events_stay_where_they_are(self) -> None:
        features = Features.of(self.dataset, build_schema(self.dataset, self.split.train, history_length=16))
        asked = self.dataset.queries
        assert asked is not None
        longer, _ = searches_of(
            features, asked, np.zeros((len(asked), 3), np.float32), asked, self.split.train
        )
        before = features.timeline.requests(self.split.validation)
        after = longer.timeline.requests(self.split.validation)
        for one, other in zip(features.timeline.seen(before), longer.timeline.seen(after), strict=True):
            assert one.tolist() == other.tolist()
        assert before.target.tolist() == after.target.tolist()

    def test_validation_judges_by_what_it_holds_out(self) -> None:
        judging = validating(self.dataset, self.split.validation, self.split.test)
        assert judging is not None
        assert len(judging) == len(self.split.validation)
        assert taken_before(self.dataset, judging, self.split.validation).all()
        assert not taken_before(self.dataset, judging, self.split.train).any()


def test_a_search_is_ordered_as_serving_orders_it() -> None:
    plan = Plan(
        search={"relevance": 1.0, "dense": 0.5, "rank": 2.0, "tower": 1.0, "lexical": 9.0}, fusion_k=1
    )
    cross = np.zeros((3, len(CROSS)), np.float32)
    cross[:, CROSS.index("tower")] = [0, 1, 2]
    pool = Pool(np.arange(3, dtype=np.int32), cross, cross[0], 0)
    dense, logits = np.array([9.0, 8, 7], np.float32), np.array([1.0, 3, 2], np.float32)
    unit = np.sqrt(1.5)
    expected = [
        np.log(1.0) + 0.5 * unit - 2 * unit - unit,
        np.log(2 / 3) + 2 * unit,
        np.log(2 / 4) - 0.5 * unit + unit,
    ]
    assert in_search(pool, dense, logits, plan) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("queries", [None, 10], ids=["no queries", "too few of them"])
def test_without_searches_the_ranker_is_what_it_was(queries: int | None) -> None:
    dataset = searching_world()
    assert dataset.queries is not None
    few = replace(dataset, queries=None if queries is None else dataset.queries.at(np.arange(queries)))
    short = CONFIG.model_copy(
        update={"ranker": CONFIG.ranker.model_copy(update={"search_epochs": 1, "candidates": 4})}
    )
    told = train(few, short).metrics["validation"]
    assert "searches" not in told
