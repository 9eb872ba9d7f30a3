"""What is paired: the seeds that both arms have, and the same rows in another order."""

from __future__ import annotations

from sdp.statistics.pairs import matching_order, pair_by_key


def test_only_common_seeds_are_paired_in_order() -> None:
    assert pair_by_key({3: "c", 1: "a", 2: "b"}, {1: 0.1, 3: 0.3, 4: 0.4}) == [("a", 0.1), ("c", 0.3)]
    assert pair_by_key({1: "a"}, {2: "b"}) == []


def test_rows_that_occur_twice_are_matched_in_turn() -> None:
    order = matching_order(["a", "b", "a"], ["a", "a", "b"])
    assert order is not None
    assert order.tolist() == [0, 2, 1]
    assert matching_order(["a", "b"], ["a", "a"]) is None
