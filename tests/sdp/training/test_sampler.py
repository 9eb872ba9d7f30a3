"""The order of training rows: a permutation, little padding, another each epoch, the same for the same seed."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from sdp.training.sampler import LengthGroupedSampler, endless_order, length_grouped_order


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


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=120),
    st.lists(st.integers(1, 60), min_size=1, max_size=90),
    st.integers(1, 16),
    st.sampled_from([0.25, 0.5, 0.8]),
)
def test_batches_of_unlabeled_rows_come_between(
    labeled: list[int], unlabeled: list[int], batch_size: int, share: float
) -> None:
    sampler = LengthGroupedSampler([*labeled, *unlabeled], batch_size, 3, len(labeled), share)
    taken: list[int] = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert len(order) == len(sampler)
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        kinds = [{row >= len(labeled) for row in batch} for batch in batches]
        assert all(len(kind) == 1 for kind in kinds), "a batch is of one kind"
        own = sum(kind == {False} for kind in kinds)
        assert len(batches) - own == round(own * share / (1 - share))
        assert sorted(row for row in order if row < len(labeled)) == list(range(len(labeled)))
        more = [row - len(labeled) for row in order if row >= len(labeled)]
        taken += more
    # Over the epochs every row comes as often as any other, up to once.
    counts = [taken.count(row) for row in range(len(unlabeled))]
    assert max(counts) - min(counts) <= 1


def test_a_part_of_the_endless_order_is_the_same_whatever_the_cuts() -> None:
    lengths = [random.Random(0).randint(1, 40) for _ in range(70)]
    whole = endless_order(lengths, 8, 5, 0, 400)
    assert sorted(whole[:70]) == sorted(whole[70:140]) == list(range(70))
    assert whole[:70] != whole[70:140]
    assert [row for start in range(0, 400, 25) for row in endless_order(lengths, 8, 5, start, 25)] == whole
