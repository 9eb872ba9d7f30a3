"""The best span against a search by two loops; windows against transformers' tokenizers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import AutoTokenizer

from sdp_onnx.deploy.answers import LOWEST, NO_TOKEN, Span, best_span, combine
from sdp_onnx.deploy.tokenization import FRAME, TextTokenizer
from support.toy import FILLER, save_tiny_model, save_xlmr_tokenizer

SCORES = st.integers(-4, 4)


def offsets_of(inside: list[bool]) -> NDArray[np.int32]:
    """Each token of the context is a letter of it."""
    places = np.cumsum(inside) - 1
    offsets = np.stack([places, places + 1], axis=1)
    offsets[~np.array(inside)] = NO_TOKEN
    return offsets.astype(np.int32)


@given(st.lists(st.tuples(SCORES, SCORES, st.booleans()), min_size=1, max_size=12), st.integers(1, 5))
def test_the_best_span_is_that_of_two_loops(tokens: list[tuple[int, int, bool]], most: int) -> None:
    logits = np.array([token[:2] for token in tokens], np.float32)
    inside = [token[2] for token in tokens]
    offsets = offsets_of(inside)
    found = best_span(logits, offsets, most)
    spans = [
        (float(logits[start, 0] + logits[end, 1]), start, end)
        for start in range(len(tokens))
        for end in range(start, min(start + most, len(tokens)))
        if inside[start] and inside[end]
    ]
    assert found.none == logits[0].sum()
    if not spans:
        assert found == Span(0, 0, LOWEST, found.none, 0.0)
        return
    score, start, end = min(spans, key=lambda span: (-span[0], span[2] - span[1], span[1]))
    assert (found.start, found.end, found.score) == (offsets[start, 0], offsets[end, 1], score)
    # Over the context and "no answer".
    candidates = sorted({0, *np.flatnonzero(inside).tolist()})
    shares = [np.exp(logits[candidates, side]) / np.exp(logits[candidates, side]).sum() for side in (0, 1)]
    expected = shares[0][candidates.index(start)] * shares[1][candidates.index(end)]
    assert found.probability == pytest.approx(expected, rel=1e-5)


def test_logits_of_any_size_have_a_probability() -> None:
    logits = np.array([[0, 0], [3e4, -3e4], [-3e4, 3e4]], np.float32)
    found = best_span(logits, np.array([[-1, -1], [0, 4], [5, 9]], np.int32))
    assert (found.start, found.end, found.probability) == (0, 9, 1.0)


def test_the_answer_is_the_best_of_all_windows_without_white_space() -> None:
    windows = [Span(0, 3, 1.0, 0.5, 0.4), Span(3, 9, 2.0, 1.5, 0.3)]
    assert combine(windows, "one  two end", optional=False) == Span(5, 8, 2.0, LOWEST, 0.3)


def test_there_is_no_answer_only_where_there_may_be_none() -> None:
    windows = [Span(0, 3, 1.0, 1.5, 0.2), Span(4, 7, 0.0, 3.0, 0.1)]
    assert combine(windows, "one two", optional=False).end == 3
    none = combine(windows, "one two", optional=True)
    # Less than the lowest score of "no answer".
    assert (none.start, none.end) == (0, 0)
    assert none.probability == pytest.approx(0.85)
    assert combine([Span(0, 3, 2.0, 1.5, 0.2), windows[1]], "one two", optional=True).end == 3
    assert combine([Span(0, 0, LOWEST, 1.0, 0.0)], "", optional=False).probability == 0
    # What was stored in single precision is as low.
    stored = Span(0, 3, float(np.float32(LOWEST)), 1.0, 0.0)
    assert combine([stored], "one", optional=False).end == 0


def tokenizer_folder(kind: str, folder: Path) -> Path:
    save_tiny_model(folder) if kind == "bert" else save_xlmr_tokenizer(folder)
    return folder


@pytest.mark.parametrize("kind", ["bert", "xlmr"])
def test_windows_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    pairs = [
        (" ".join(generator.choice(FILLER, 3)), " ".join(generator.choice(FILLER, count)))
        for count in (0, 1, 5, 40, 111)
    ]
    folder = tokenizer_folder(kind, tmp_path / kind)
    tokenizer = TextTokenizer.read(folder)
    tokenizer.cut_in_windows(32, 10)
    windows = tokenizer.encode_windows(pairs)
    whole = AutoTokenizer.from_pretrained(folder)(
        [question for question, _ in pairs],
        [context for _, context in pairs],
        truncation="only_second",
        max_length=32,
        stride=10,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    owners = [place for place, own in enumerate(windows) for _ in own]
    assert owners == whole["overflow_to_sample_mapping"]
    assert len(owners) > len(pairs)
    for place, window in enumerate(window for own in windows for window in own):
        assert window.inputs["input_ids"] == whole["input_ids"][place]
        inside = [sequence == 1 for sequence in whole.sequence_ids(place)]
        expected = [
            tuple(offset) if own else (-1, -1)
            for offset, own in zip(whole["offset_mapping"][place], inside, strict=True)
        ]
        assert window.offsets == expected


def test_every_token_of_a_context_is_in_a_window_however_long_the_question(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "bert")
    tokenizer = TextTokenizer.read(tmp_path / "bert")
    tokenizer.cut_in_windows(32, 15)
    context = " ".join(FILLER * 6)
    whole = tokenizer.backend.encode("", context)
    for words in (1, 12, 13, 500):
        (windows,) = tokenizer.encode_windows([(" ".join(["music"] * words), context)])
        assert max(len(window.inputs["input_ids"]) for window in windows) <= 32
        asked = [window.inputs["input_ids"].count(whole.ids[0]) for window in windows]
        assert asked == [1] * len(windows)
        read = {offset for window in windows for offset in window.offsets}
        words_of = {(place, end) for place, end in read if place >= 0}
        assert "".join(context[a:b] for a, b in sorted(words_of)) == context.replace(" ", "")
        kept = sum(offset == (-1, -1) for offset in windows[0].offsets)
        assert kept <= 32 // 2 - FRAME + 3


def test_threads_cut_long_questions_without_disturbing_each_other(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "bert")
    tokenizer = TextTokenizer.read(tmp_path / "bert")
    tokenizer.cut_in_windows(32, 10)
    pairs = [(" ".join(["music"] * 400), " ".join(FILLER * count)) for count in (1, 20)]
    expected = tokenizer.encode_windows(pairs)
    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(tokenizer.encode_windows, [pairs] * 400))


def test_a_long_question_keeps_the_tokens_that_it_has_alone(tmp_path: Path) -> None:
    tokenizer = TextTokenizer.read(tokenizer_folder("xlmr", tmp_path / "xlmr"))
    tokenizer.backend.no_truncation()
    question = " ".join(FILLER * 9)
    alone = tokenizer.backend.encode(question, add_special_tokens=False).ids
    tokenizer.cut_in_windows(32, 10)
    (windows,) = tokenizer.encode_windows([(question, " ".join(FILLER))])
    room = 32 // 2 - FRAME
    assert all(window.inputs["input_ids"][1 : 1 + room] == alone[:room] for window in windows)
