"""Entity F1 against seqeval's own and a naive reading of the tags; NDCG against its formula; words without a token."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score

from sdp.data.rows import Split
from sdp.evaluation.metrics import (
    NO_PREDICTION,
    entity_counts,
    entity_f1,
    list_scores,
    predictions,
    score_predictions,
    tag_names,
)
from sdp.statistics.intervals import ratio_terms, resampled_scores

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "S-LOC", "E-PER")


def sentences(lengths: list[int], labels: list[int], tags: tuple[str, ...] = TAGS) -> Split:
    texts = tuple(tuple(f"w{i}" for i in range(length)) for length in lengths)
    return Split("dev", texts, np.array(labels, dtype=np.int64), ("",) * len(lengths), tags=tags)


@st.composite
def tagged(draw: st.DrawFn) -> tuple[Split, np.ndarray]:
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    ids = st.lists(st.integers(0, len(TAGS) - 1), min_size=sum(lengths), max_size=sum(lengths))
    predicted = st.lists(st.integers(-1, len(TAGS) - 1), min_size=sum(lengths), max_size=sum(lengths))
    return sentences(lengths, draw(ids)), np.array(draw(predicted))


@settings(max_examples=60, deadline=None)
@given(tagged())
def test_sums_of_the_sentences_counts_give_seqevals_score(case: tuple[Split, np.ndarray]) -> None:
    split, predicted = case
    right, marked, true = entity_counts(split, predicted).sum(axis=0)
    expected = f1_score(tag_names(split, split.labels), tag_names(split, predicted), zero_division=0)
    assert (2 * right / (marked + true) if marked + true else 0) == pytest.approx(expected)
    assert entity_f1(split, predicted) == pytest.approx(expected)


def naive_entities(tags: list[str]) -> set[tuple[str, int, int]]:
    """BIO without malformed sequences: an entity starts at B and goes on over every I of its type."""
    found = set()
    for start, tag in enumerate(tags):
        if tag.startswith("B-"):
            end = start
            while end + 1 < len(tags) and tags[end + 1] == f"I-{tag[2:]}":
                end += 1
            found.add((tag[2:], start, end))
    return found


def test_entities_of_well_formed_tags_are_what_bio_means() -> None:
    split = sentences([6, 4], [1, 2, 0, 3, 4, 4, 0, 1, 1, 2])
    predicted = np.array([1, 2, 0, 3, 4, 0, 0, 1, 1, 2])
    truths, saids = tag_names(split, split.labels), tag_names(split, predicted)
    expected = [
        [len(naive_entities(t) & naive_entities(s)), len(naive_entities(s)), len(naive_entities(t))]
        for t, s in zip(truths, saids, strict=True)
    ]
    assert entity_counts(split, predicted).tolist() == expected == [[1, 2, 2], [2, 2, 2]]
    assert entity_f1(split, predicted) == pytest.approx(2 * 3 / (4 + 4))


def test_a_word_without_a_token_is_no_entity_and_no_hit() -> None:
    logits = np.array([[9.0, 0, 0], [np.nan] * 3, [0, 0, 9]], dtype=np.float32)
    predicted = predictions("entity-f1", logits)
    assert predicted.tolist() == [0, NO_PREDICTION, 2]
    split = sentences([3], [1, 1, 2], ("O", "B-X", "I-X"))
    assert tag_names(split, predicted) == [["O", "O", "I-X"]]
    assert score_predictions("accuracy", split, predicted) == pytest.approx(1 / 3)
    # Also where the truth is what stands first in the list of tags.
    zero = sentences([3], [0, 0, 2], ("ADJ", "NOUN", "VERB"))
    assert score_predictions("accuracy", zero, predicted) == pytest.approx(2 / 3)


def naive_ndcg(relevance: list[float], scores: list[float]) -> float:
    def dcg(order: list[int]) -> float:
        return sum(relevance[i] / math.log2(place + 2) for place, i in enumerate(order))

    by_score = sorted(range(len(scores)), key=lambda i: -scores[i])
    return dcg(by_score) / dcg(sorted(range(len(scores)), key=lambda i: -relevance[i]))


def ranking(groups: list[int], relevance: list[float]) -> Split:
    texts = tuple((f"q{g}", "d") for g in groups)
    return Split("dev", texts, np.array(relevance, dtype=np.float32), ("",) * len(groups), np.array(groups))


def test_ndcg_is_the_mean_over_lists_that_can_be_ranked() -> None:
    # Lists out of order, one of a single row, one of equal rows, one of rows that are all irrelevant.
    groups = [0, 1, 0, 2, 1, 3, 0, 3, 4, 4]
    relevance = [3.0, 0, 1, 4, 2, 2, 0, 2, 0, 0]
    predicted = np.array([0.1, 0.9, 0.3, 0.5, 0.2, 0.7, 0.2, 0.1, 0.3, 0.4])
    split = ranking(groups, relevance)
    expected = [naive_ndcg([3, 1, 0], [0.1, 0.3, 0.2]), naive_ndcg([0, 2], [0.9, 0.2])]
    assert list_scores(split, predicted) == pytest.approx(expected)
    assert score_predictions("ndcg", split, predicted) == pytest.approx(np.mean(expected))
    assert score_predictions("ndcg", split, np.array(relevance)) == pytest.approx(1)
    with pytest.raises(ValueError, match="no list"):
        list_scores(ranking([0, 1, 1], [1, 2, 2]), predicted[:3])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=4, max_size=20), st.integers(0, 1000))
def test_ndcg_lies_between_0_and_1_and_follows_the_order_alone(rows: list[tuple[int, int]], seed: int) -> None:
    groups, relevance = [g for g, _ in rows], [float(r) for _, r in rows]
    groups += [9, 9]
    relevance += [0, 1]
    predicted = np.random.default_rng(seed).permutation(len(groups)) / len(groups)
    split = ranking(groups, relevance)
    values = list_scores(split, predicted)
    assert np.all((values >= 0) & (values <= 1 + 1e-12))
    assert list_scores(split, np.exp(3 * predicted)) == pytest.approx(values)


@pytest.mark.parametrize("metric", ["accuracy", "f1", "entity-f1", "ndcg"])
def test_ratios_of_sums_are_the_score(metric: str) -> None:
    generator = np.random.default_rng(0)
    if metric == "ndcg":
        split = ranking(generator.integers(0, 6, 40).tolist(), generator.integers(0, 4, 40).astype(float).tolist())
        predicted = generator.random(40)
    elif metric == "entity-f1":
        split = sentences([5] * 8, generator.integers(0, len(TAGS), 40).tolist())
        predicted = generator.integers(-1, len(TAGS), 40)
    else:
        split = Split("dev", (("t",),) * 40, generator.integers(0, 2, 40), ("",) * 40)
        predicted = generator.integers(0, 2, 40)
    above, below, _ = ratio_terms(metric, split, predicted).sum(axis=0)
    assert above / below == pytest.approx(score_predictions(metric, split, predicted))


def test_sentences_are_drawn_whole() -> None:
    """Words of a sentence stand and fall together here: drawing words would give a third of the spread."""
    split = sentences([9] * 60, [0] * 540, ("A", "B"))
    predicted = np.repeat(np.arange(60) % 2, 9)
    draws = resampled_scores("accuracy", split, [predicted], 800, seed=0)[:, 0]
    assert np.std(draws) == pytest.approx(math.sqrt(0.25 / 60), rel=0.1)


def test_lists_are_drawn_whole() -> None:
    groups = np.repeat(np.arange(50), 4).tolist()
    split = ranking(groups, [3.0, 2, 1, 0] * 50)
    predicted = np.concatenate([[3.0, 2, 1, 0] if g % 2 else [0.0, 1, 2, 3] for g in range(50)])
    values = list_scores(split, predicted)
    draws = resampled_scores("ndcg", split, [predicted], 800, seed=0)[:, 0]
    assert np.std(draws) == pytest.approx(np.std(values) / math.sqrt(50), rel=0.1)


def test_resamples_of_entity_f1_are_seqevals_of_the_drawn_sentences() -> None:
    generator = np.random.default_rng(5)
    split = sentences([4] * 12, generator.integers(0, len(TAGS), 48).tolist())
    predicted = generator.integers(0, len(TAGS), 48)
    draws = resampled_scores("entity-f1", split, [predicted], 5, seed=11)[:, 0]
    again = np.random.default_rng(11)
    truth, marked = tag_names(split, split.labels), tag_names(split, predicted)
    for value in draws:
        chosen = again.integers(0, 12, 12)
        expected = f1_score([truth[i] for i in chosen], [marked[i] for i in chosen], zero_division=0)
        assert value == pytest.approx(expected)
