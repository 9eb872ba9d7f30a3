"""Padding and batching against the plain definitions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdp.data.batches import Collator, TokenizedSplit, length_sorted_batches, tokenize, tokenize_words
from sdp.data.rows import Split
from sdp.errors import ModelError
from sdp.models.tokenizer import load_tokenizer
from sdp_onnx.deploy.tokenization import TextTokenizer


def test_a_batch_is_padded_to_its_longest_row(toy_model: Path) -> None:
    tokenizer = load_tokenizer(toy_model)
    texts = (("good film",), ("a very dull story and plot",), ("fine",))
    split = Split("train", texts, np.array([1, 0, 1]), ("", "", ""))
    rows = tokenize(split.texts, tokenizer, 32)
    assert [len(row["input_ids"]) for row in rows] == [4, 8, 3]
    batch = Collator(tokenizer)([TokenizedSplit(rows, split.labels)[i] for i in (2, 1)])
    for name, padding in (("input_ids", tokenizer.padding.id), ("attention_mask", 0), ("token_type_ids", 0)):
        expected = [rows[2][name] + [padding] * 5, rows[1][name]]
        assert batch[name].tolist() == expected
        assert batch[name].dtype == torch.int64
    assert batch["labels"].tolist() == [1, 0]
    assert batch["index"].tolist() == [2, 1]


def test_the_longer_text_of_a_pair_is_cut(toy_model: Path) -> None:
    tokenizer = load_tokenizer(toy_model)
    split = Split("train", (("good " * 20, "bad film"),), np.array([0]), ("",))
    ids = tokenize(split.texts, tokenizer, 12)[0]["input_ids"]
    assert len(ids) == 12
    assert [tokenizer.backend.id_to_token(index) for index in ids[-3:]] == ["bad", "film", "[SEP]"]


@pytest.mark.parametrize("words", [False, True])
def test_a_tokenizer_that_fails_is_reported(toy_model: Path, tmp_path: Path, *, words: bool) -> None:
    shutil.copytree(toy_model, tmp_path / "model")
    file = tmp_path / "model" / "tokenizer.json"
    content = json.loads(file.read_text())
    # Bare Exception, when the first unknown word comes.
    del content["model"]["vocab"]["[UNK]"]
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] != "[UNK]"]
    file.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="the tokenizer fails"):
        (tokenize_words if words else tokenize)((("good", "日本"),), load_tokenizer(tmp_path / "model"), 8)


@pytest.mark.parametrize("words", [False, True])
def test_rows_tokenized_a_few_at_a_time_are_the_same(
    toy_model: Path, monkeypatch: pytest.MonkeyPatch, *, words: bool
) -> None:
    tokenizer = load_tokenizer(toy_model)
    texts = tuple(("good film " * count, "dull") for count in (1, 2, 3, 40, 0, 1, 1, 1, 1))
    read = tokenize_words if words else tokenize
    one_by_one = [read((row,), tokenizer, 12) for row in texts]
    monkeypatch.setattr("sdp.data.batches.CHUNK", 3)
    monkeypatch.setattr("sdp.data.batches.CHUNK_CHARACTERS", 100)
    asked: list[int] = []
    encode = TextTokenizer.encode

    def watched(self: TextTokenizer, rows: Any, **options: Any) -> Any:
        asked.append(len(rows))
        return encode(self, rows, **options)

    monkeypatch.setattr(TextTokenizer, "encode", watched)
    found = read(texts, tokenizer, 12)
    # 14 + 24 + 34 characters; a long row by itself; 4 + 14 + 14, and the last two.
    assert asked == [3, 1, 3, 2]
    if words:
        assert list(found[0]) == [row for rows, _ in one_by_one for row in rows]
        assert [place.tolist() for place in found[1]] == [place.tolist() for _, (place,) in one_by_one]
    else:
        assert list(found) == [row for rows in one_by_one for row in rows]


def test_scores_stay_numbers(toy_model: Path) -> None:
    split = Split("train", (("good",), ("bad",)), np.array([0.5, 2.0], dtype=np.float32), ("", ""))
    tokenizer = load_tokenizer(toy_model)
    data = TokenizedSplit(tokenize(split.texts, tokenizer, 8), split.labels)
    batch = Collator(tokenizer)([data[0], data[1]])
    assert batch["labels"].dtype == torch.float32


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 16))
def test_evaluation_batches_cover_every_row_once_in_order_of_length(lengths: list[int], size: int) -> None:
    rows = TokenizedSplit([{"input_ids": [0] * length} for length in lengths], np.zeros(len(lengths), dtype=np.int64))
    batches = list(length_sorted_batches(rows, size))
    order = [index for batch in batches for index in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[index] for index in order] == sorted(lengths)
    assert all(len(batch) == size for batch in batches[:-1])


def test_a_third_column_stands_behind_the_second(toy_model: Path) -> None:
    tokenizer = load_tokenizer(toy_model)
    split = Split("train", (("film", "good", "story with music"),), np.array([0.0], dtype=np.float32), ("",))
    (row,) = tokenize(split.texts, tokenizer, 32)
    expected = ["[CLS]", "film", "[SEP]", "good", "story", "with", "music", "[SEP]"]
    assert [tokenizer.backend.id_to_token(index) for index in row["input_ids"]] == expected
    assert row["token_type_ids"] == [0] * 3 + [1] * 5
