"""Answers in the form of SQuAD from files, windows and the labels of their tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.data.answers import answer_lists
from sdp.data.batches import Collator, TokenizedSplit
from sdp.data.load import load_task_data
from sdp.data.rows import IGNORED
from sdp.data.windows import ENDS, STARTS, token_labels
from sdp.errors import DataError
from sdp.recipe import Recipe
from sdp_onnx.deploy.tokenization import TextTokenizer
from support.toy import FILLER, save_tiny_model

CONTEXT = "In Paris, spring comes early."
RIGHT = {"text": ["Paris", "Paris, spring"], "answer_start": [3, 3]}
NONE: dict[str, list[Any]] = {"text": [], "answer_start": []}


def recipe(folder: Path, suffix: str) -> Recipe:
    files = {name: str(folder / f"{name}.{suffix}") for name in ("train", "dev")}
    return Recipe.model_validate(
        {
            "name": "x",
            "model": {"name": "x"},
            "task": {"type": "question-answering"},
            "data": {**files, "text": ("question", "context"), "label": "answers", "max_length": 64},
        }
    )


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "csv", "tsv"])
def test_answers_from_every_format(suffix: str, tmp_path: Path) -> None:
    rows = [("Where?", CONTEXT, RIGHT), ("When, and why?", CONTEXT, NONE)]
    for name in ("train", "dev"):
        path = tmp_path / f"{name}.{suffix}"
        frame = pd.DataFrame(rows, columns=["question", "context", "answers"])
        if suffix == "parquet":
            frame.to_parquet(path)
        elif suffix == "jsonl":
            frame.to_json(path, orient="records", lines=True)
        else:
            frame["answers"] = frame["answers"].map(json.dumps)
            lines = frame.to_csv(index=False) if suffix == "csv" else _tsv(frame)
            path.write_text(lines)
    data = load_task_data(recipe(tmp_path, suffix))
    assert data.dev.answers is not None
    assert data.dev.answers.of_rows == (("Paris", "Paris, spring"), ())
    assert data.dev.answers.starts == ((3, 3), ())
    assert data.dev.answers.optional, "a question of training has no answer"
    assert list(data.dev.texts) == [("Where?", CONTEXT), ("When, and why?", CONTEXT)]
    chosen = data.dev.where(np.array([False, True]))
    assert chosen.answers is not None
    assert list(chosen.answers.of_rows) == [()]


def _tsv(frame: pd.DataFrame) -> str:
    return "\n".join("\t".join(row) for row in [list(frame.columns), *frame.to_numpy().tolist()]) + "\n"


def test_one_answer_needs_no_list() -> None:
    assert answer_lists([{"text": "Paris", "answer_start": 3}], [CONTEXT], "answers", "x") == [(("Paris", 3),)]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("Paris", "which are no answers"),
        (None, "which are no answers"),
        ({"text": ["Paris"]}, "which are no answers"),
        ({"text": ["Paris"], "answer_start": []}, "which are no answers"),
        ({"text": ["Paris"], "answer_start": [0.5]}, "which are no answers"),
        ({"text": [3], "answer_start": [3]}, "which are no answers"),
        ({"text": ["Paris"], "answer_start": [4]}, 'the answer "Paris" does not stand at character 4'),
        ({"text": ["Rome"], "answer_start": [3]}, 'the answer "Rome" does not stand at character 3'),
        ({"text": [" "], "answer_start": [2]}, 'the answer " " does not stand'),
        ({"text": ["."], "answer_start": [-1]}, "does not stand at character -1"),
    ],
)
def test_a_wrong_value_is_one_error_with_its_row(value: object, message: str) -> None:
    with pytest.raises(DataError, match=r".*") as caught:
        answer_lists([RIGHT, value], [CONTEXT, CONTEXT], "answers", "data.jsonl")
    assert message in caught.value.what
    assert caught.value.where == "data.jsonl, row 2"
    assert caught.value.hint
    if "character 4" in message:
        assert "There it stands at 3" in caught.value.hint


@given(st.lists(st.integers(0, 3), min_size=1, max_size=10), st.data())
def test_labels_are_at_the_tokens_that_hold_the_ends_of_an_answer(widths: list[int], data: st.DataObject) -> None:
    # A token of width 0 is none of the context.
    ends = np.cumsum(widths)
    offsets = np.stack([ends - widths, ends], axis=1).astype(np.int32)
    offsets[np.array(widths) == 0] = -1
    length = int(ends[-1])
    first = data.draw(st.integers(0, length + 3))
    last = data.draw(st.integers(first, length + 5))
    found = token_labels(offsets, ["x" * (last - first + 1)], [first])
    holds = [
        [token for token, (a, b) in enumerate(offsets.tolist()) if a >= 0 and a <= place < b] for place in (first, last)
    ]
    expected = np.where(np.array(widths) == 0, IGNORED, 0)
    expected[0] = 0
    if holds[0] and holds[1]:
        expected[holds[0][0]] += STARTS
        expected[holds[1][0]] += ENDS
    else:
        expected[0] = STARTS + ENDS
    assert found.tolist() == expected.tolist()


def test_the_first_answer_that_lies_in_a_window_is_learned() -> None:
    offsets = np.array([[-1, -1], [4, 6], [7, 9]], np.int32)
    assert token_labels(offsets, ["ab", "cd"], [0, 7]).tolist() == [0, 0, STARTS + ENDS]
    assert token_labels(offsets, [], []).tolist() == [STARTS + ENDS, 0, 0]


def test_windows_of_a_split_and_rows_without_labels_behind_them(tmp_path: Path) -> None:
    context = " ".join(FILLER * 10)
    answer = {"text": [FILLER[0]], "answer_start": [context.rindex(FILLER[0])]}
    lines = [{"question": "who", "context": context, "answers": answer}] * 2
    for name in ("train", "dev"):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    save_tiny_model(tmp_path / "tiny")
    tokenizer = TextTokenizer.read(tmp_path / "tiny")
    data = load_task_data(recipe(tmp_path, "jsonl"))
    rows = TokenizedSplit.of_questions(data.dev, tokenizer, 40, 10)
    assert rows.windows is not None
    assert rows.windows.owners.tolist() == sorted([0, 1] * (len(rows) // 2))
    answered = [window for window, labels in enumerate(rows.labels) if labels[0] == 0]
    for window in answered:
        (token,) = np.flatnonzero(rows.labels[window] == STARTS + ENDS)
        start, end = rows.windows.offsets[window][token]
        assert context[start:end] == FILLER[0]
    assert 0 < len(answered) < len(rows), "most windows have no answer"
    train = TokenizedSplit.of_questions(data.train, tokenizer, 40, 10)
    assert train.windows is None
    more = train.with_unlabeled([train.rows[0]])
    batch = Collator(tokenizer)([more[0], more[len(train)]])
    assert (batch["labels"][1] == IGNORED).all()
    assert (batch["labels"][0] != IGNORED).any()
