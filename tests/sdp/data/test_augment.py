"""Rows made of pairs of rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sdp.data.augment import REPLACED, augmented_rows

WORDS = st.lists(st.sampled_from(["a", "b", "c", "good", "film"]), max_size=9)
TEXT = WORDS.map(" ".join)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6), st.integers(0, 30), st.integers(0, 9))
def test_words_and_columns_are_those_of_the_rows(rows: list[tuple[str, str]], count: int, seed: int) -> None:
    made = list(augmented_rows(rows, count, seed))
    assert len(made) == count
    assert made == list(augmented_rows(rows, count, seed))
    for place in range(2):
        known = {word for row in rows for word in row[place].split()}
        assert all(set(row[place].split()) <= known for row in made)


@given(st.lists(WORDS.filter(bool).map(tuple), min_size=1, max_size=6), st.integers(0, 9))
def test_a_sentence_of_words_has_some(rows: list[tuple[str, ...]], seed: int) -> None:
    assert all(
        row and set(row) <= {word for own in rows for word in own} for row in augmented_rows(rows, 20, seed, words=True)
    )


def test_half_are_crossed_and_a_fifth_of_the_words_of_the_others_replaced() -> None:
    rows = [tuple([f"{name}{n}" for n in range(20)]) for name in "ab"]
    made = [row for row in augmented_rows(rows, 4000, 0, words=True) if len({word[0] for word in row}) == 2]
    # In a crossed row all words of the one stand before those of the other, at the numbers where they stood.
    kept = [
        row for row in made if len(row) == 20 and all(int(w[1:]) == n for n, w in enumerate(row) if w[0] == row[0][0])
    ]
    shares = [sum(word[0] != row[0][0] for word in row) / 20 for row in kept if row[0][1:] == "0"]
    assert abs(sum(shares) / len(shares) - REPLACED) < 0.06
    assert {len(row) for row in augmented_rows(rows, 300, 1, words=True)} > {20}
