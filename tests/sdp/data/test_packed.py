"""Packed rows are the rows: every value, in order, whatever the chunks, and hardly any memory."""

from __future__ import annotations

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from sdp.data.rows_on_disk import PackedRows, row_lengths

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


def test_a_row_takes_the_memory_of_a_number() -> None:
    row = {"input_ids": list(range(1000, 1500)), "attention_mask": [1] * 500}
    tracemalloc.start()
    packed = PackedRows([row] * 50 for _ in range(100))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(packed) == 5000
    # Its tokens would take 2,500 bytes at the least.
    assert held < 20 * 5000


def test_lengths_are_those_of_the_rows() -> None:
    rows = [{"input_ids": [7] * length, "attention_mask": [1] * length} for length in (3, 0, 5)]
    assert row_lengths(PackedRows([rows[:1], [], rows[1:]])).tolist() == row_lengths(rows).tolist() == [3, 0, 5]
