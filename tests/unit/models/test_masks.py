from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.masks import every, some

MASKS = st.lists(st.lists(st.booleans(), min_size=3, max_size=3), max_size=5)


@given(MASKS)
def test_they_say_what_all_and_any_say(rows: list[list[bool]]) -> None:
    mask = np.array(rows, bool).reshape(-1, 3)

    assert every(mask) is bool(mask.all())
    assert some(mask) is bool(mask.any())
