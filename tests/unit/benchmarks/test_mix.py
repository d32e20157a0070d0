from collections import Counter

import orjson
import pytest

from benchmarks.mix import LIVING, SHARES, Cast, Mix

CAST = Cast(["u1", "u2"], [f"i{n}" for n in range(200)], ["red shoe"], "click", {"price": 1.0})


def parts(call: bytes) -> tuple[str, str, dict]:
    """Method, path and body."""
    head, _, body = call.partition(b"\r\n\r\n")
    method, path, _ = head.split(b"\r\n")[0].decode().split(" ")
    assert f"Content-Length: {len(body)}".encode() in head
    return method, path, orjson.loads(body) if body else {}


def test_kinds_have_their_shares_and_a_seed_its_calls():
    drawn = [mix.draw() for mix in [Mix(CAST, seed=2)] for _ in range(5000)]
    counts = Counter(kind for kind, _ in drawn)
    assert {kind: count / 5000 for kind, count in counts.items()} == pytest.approx(SHARES, abs=0.03)
    again = Mix(CAST, seed=2)
    assert [again.draw() for _ in range(50)] == drawn[:50]


def test_items_live_for_a_while_are_never_made_again_and_deleted_once():
    mix = Mix(CAST)
    living, made, most = set(), set(), 0
    for kind, call in (mix.draw() for _ in range(30_000)):
        if kind != "item":
            continue
        method, path, body = parts(call)
        item = path.removeprefix("/v1/items/")
        if method == "PUT":
            assert item in living or item not in made
            living.add(item)
            made.add(item)
        elif method == "DELETE":
            living.remove(item)
        else:
            assert item in CAST.items
            assert set(body) == {"available"}
        most = max(most, len(living))
    assert len(made) > 5 * LIVING
    assert most == LIVING + 1


def test_what_is_hidden_is_shown_again():
    mix = Mix(CAST)
    hidden, most = set(), 0
    for kind, call in (mix.draw() for _ in range(30_000)):
        if kind == "item" and (told := parts(call))[0] == "PATCH":
            (hidden.discard if told[2]["available"] else hidden.add)(told[1])
            most = max(most, len(hidden))
    assert 5 < most < 20


def test_histories_give_every_user_as_many_events_each_with_an_id_of_its_own():
    events = [event for call in Mix(CAST).histories(600) for event in parts(call)[2]["events"]]
    assert Counter(event["user_id"] for event in events) == {"u1": 600, "u2": 600}
    assert len({event["event_id"] for event in events}) == 1200
