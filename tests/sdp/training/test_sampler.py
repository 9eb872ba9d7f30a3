"""The order of training rows: a permutation, little padding, another each epoch, the same for the same seed."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from sdp.training.sampler import LengthGroupedSampler, length_grouped_order


@given(st.lists(st.integers(1, 128), min_size=1, max_size=300), st.integers(1, 40), st.integers(0, 2**32))
def test_every_row_comes_once(lengths: list[int], batch_size: int, seed: int) -> None:
    order = length_grouped_order(lengths, batch_size, seed)
    assert sorted(order) == list(range(len(lengths)))
    assert order == length_grouped_order(lengths, batch_size, seed)


def test_batches_hold_rows_of_like_length() -> None:
    generator = random.Random(0)
    lengths = [generator.randint(5, 100) for _ in range(3200)]

    def padded(order: list[int]) -> int:
        batches = [order[start : start + 32] for start in range(0, len(order), 32)]
        return sum(max(lengths[row] for row in batch) * len(batch) for batch in batches)

    shuffled = list(range(3200))
    generator.shuffle(shuffled)
    assert padded(length_grouped_order(lengths, 32, seed=1)) < 1.06 * sum(lengths)
    assert padded(shuffled) > 1.7 * sum(lengths)


def test_epochs_differ_and_can_be_entered_in_the_middle() -> None:
    sampler = LengthGroupedSampler([5] * 64, 8, seed=0)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert first != second
    resumed = LengthGroupedSampler([5] * 64, 8, seed=0)
    resumed.set_epoch(1)
    assert list(resumed) == second
