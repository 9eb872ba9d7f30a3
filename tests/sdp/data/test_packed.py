"""Packed rows are the rows: every value, in order, whatever the chunks, and in little memory."""

from __future__ import annotations

import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from sdp.data.packed import PackedRows

ROWS = st.lists(
    st.lists(st.tuples(st.integers(0, 250_001), st.integers(0, 1)), max_size=9).map(
        lambda pairs: {"input_ids": [a for a, _ in pairs], "attention_mask": [b for _, b in pairs]}
    ),
    max_size=12,
)


@settings(deadline=None)
@given(ROWS, st.integers(1, 5))
def test_rows_come_back(rows: list[dict[str, list[int]]], size: int) -> None:
    packed = PackedRows(rows[start : start + size] for start in range(0, len(rows), size))
    assert len(packed) == len(rows)
    assert list(packed) == rows
    assert packed[::-1] == rows[::-1]
    assert not rows or packed[-1] == rows[-1]


def test_a_token_takes_five_bytes() -> None:
    row = {"input_ids": list(range(1000, 1100)), "attention_mask": [1] * 100}
    packed = PackedRows([[row] * 50, [row] * 50])
    size = sum(sys.getsizeof(values) for values in packed._values.values())
    assert size < 5.1 * 100 * 100
