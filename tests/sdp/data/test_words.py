"""Words and tags from files and data sets, and the way from words to tokens and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from sdp.data.batches import Collator, TokenizedSplit, in_order, read_off, tokenize_words
from sdp.data.load import load_task_data
from sdp.data.rows import IGNORED, Split
from sdp.data.words import word_lists
from sdp.errors import DataError
from sdp.models.tokenizer import load_tokenizer
from sdp.recipe import Recipe
from sdp_onnx.deploy.tokenization import TextTokenizer
from support.toy import save_xlmr_tokenizer

TAGS = ("O", "B-X", "I-X")
ROWS = [(["the", "film"], ["O", "B-X"]), (["a", "weak", "story"], ["O", "B-X", "I-X"])]


def recipe(folder: Path, suffix: str, **task: Any) -> Recipe:
    files = {split: str(folder / f"{split}.{suffix}") for split in ("train", "dev")}
    data = {**files, "text": ("words",), "label": "tags"}
    return Recipe.model_validate(
        {"name": "x", "model": {"name": "m"}, "task": task or {"type": "tagging"}, "data": data}
    )


def write(path: Path, rows: list[tuple[Any, Any]]) -> None:
    suffix = path.suffix
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps({"words": words, "tags": tags}) + "\n" for words, tags in rows))
    elif suffix == ".parquet":
        pd.DataFrame(rows, columns=["words", "tags"]).to_parquet(path)
    else:
        mark = "\t" if suffix == ".tsv" else ","
        lines = [f"words{mark}tags", *(mark.join(" ".join(part) for part in row) for row in rows)]
        path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "tsv", "csv"])
def test_lists_and_strings_are_the_same_sentences(suffix: str, tmp_path: Path) -> None:
    for split in ("train", "dev"):
        write(tmp_path / f"{split}.{suffix}", ROWS)
    data = load_task_data(recipe(tmp_path, suffix))
    assert data.label_names == ("B-X", "I-X", "O")
    assert list(data.dev.texts) == [tuple(words) for words, _ in ROWS]
    assert [data.label_names[i] for i in data.dev.labels] == [tag for _, tags in ROWS for tag in tags]
    assert data.dev.labels_of(1).tolist() == [2, 0, 1]
    assert data.dev.sentence_of_word.tolist() == [0, 0, 1, 1, 1]


def test_the_tags_of_a_known_task_have_its_order_and_may_be_numbers(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [(["a", "b"], ["B-LOC", "O"])])
    write(tmp_path / "dev.jsonl", [(["a", "b"], [1, 8])])
    data = load_task_data(recipe(tmp_path, "jsonl", name="ner"))
    assert data.label_names[:3] == ("O", "B-PER", "I-PER")
    assert data.train.labels.tolist() == [5, 0]
    assert data.dev.labels.tolist() == [1, 8]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((["a", "b"], ["O"]), r"dev.jsonl, row 2: 2 words and 1 tags"),
        ((["a", 3], ["O", "O"]), r"row 2: the column \"words\" holds 3"),
        ((["a"], [None]), r"row 2: the label is missing"),
        ((["a"], ["B-Y"]), r"row 2: the label \"B-Y\" does not occur"),
        ((7, ["O"]), r"row 2: the column \"words\" holds 7, which is no list of words"),
        ((["a"], None), r"row 2: the column \"tags\" holds None, which is no list of tags\n  Fill it in"),
        ((["a"], float("nan")), r"row 2: the column \"tags\" holds nan, which is no list of tags\n  Fill it in"),
        (("a b", ""), r"row 2: 2 words and 0 tags"),
        (("a b", "['O' 'O']"), r"row 2: the column \"tags\" holds \['O' 'O'\], which reads like no list\n.*json.dumps"),
        (("a b", "[0 0]"), r"row 2: the column \"tags\" holds \[0 0\], which reads like no list"),
        (("a b", "['O', 'O"), r"row 2: the label \"\['O',\" does not occur"),
        (("['a' 'b']", "O O"), r"row 2: the column \"words\" holds \['a' 'b'\], which reads like no list"),
        (('"[\'a\', ""b\'s""]"', "O O"), r"row 2: the column \"words\" holds .*, which reads like no list\n.*in tsv"),
        (("['a', 'b']", "O"), r"row 2: 2 words and 1 tags"),
        (("a b", '["O", null]'), r"row 2: the label is missing"),
        (("a b", '["O", ["O"]]'), r"row 2: the label is \['O'\], which is neither text nor a number"),
    ],
)
def test_rows_that_cannot_be(row: tuple[Any, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", ROWS)
    write(tmp_path / "dev.jsonl", [ROWS[0], row])
    with pytest.raises(DataError, match=message):
        load_task_data(recipe(tmp_path, "jsonl"))


PYTHON = ("['the', \"film's\"]", "['O', 'B-X']")
JSON = ('["the", "film\'s"]', '["O", "B-X"]')


@pytest.mark.parametrize(
    "row",
    [
        PYTHON,
        JSON,
        ("the film's", PYTHON[1]),
        (JSON[0], "O B-X"),
        ("['the',\n \"film's\",]", "[ 'O' ,'B-X' ]"),
        (["the", "film's"], JSON[1]),
    ],
)
def test_the_text_of_a_list_is_a_list(row: tuple[Any, Any], tmp_path: Path) -> None:
    for split in ("train", "dev"):
        write(tmp_path / f"{split}.jsonl", [row, ("a [b] c", "O O B-X"), ("['] x", "O B-X"), ("[]", "[]")])
    data = load_task_data(recipe(tmp_path, "jsonl"))
    assert list(data.dev.texts) == [("the", "film's"), ("a", "[b]", "c"), ("[']", "x"), ()]
    assert [data.label_names[tag] for tag in data.dev.labels_of(0)] == ["O", "B-X"]
    assert data.label_names == ("B-X", "O")


def test_columns_of_lists_that_pandas_writes_are_read_from_every_format(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS, columns=["words", "tags"])
    for split in ("train", "dev"):
        frame.to_csv(tmp_path / f"{split}.csv", index=False)
        frame.to_csv(tmp_path / f"{split}.tsv", index=False, sep="\t")
    for suffix in ("csv", "tsv"):
        data = load_task_data(recipe(tmp_path, suffix))
        assert list(data.dev.texts) == [tuple(words) for words, _ in ROWS]
        assert [data.label_names[i] for i in data.dev.labels] == [tag for _, tags in ROWS for tag in tags]


def test_words_alone_may_be_in_brackets() -> None:
    """What is read to be predicted has no tags beside it."""
    assert word_lists(["[ citation needed ]", '["a b", "c"]', "[1]"], "words", "here") == [
        ("[", "citation", "needed", "]"),
        ("a b", "c"),
        ("[1]",),
    ]


def test_numbers_of_tags_may_be_the_text_of_a_list(tmp_path: Path) -> None:
    for split in ("train", "dev"):
        write(tmp_path / f"{split}.jsonl", [("a b [1]", "[0, 10, 9]")])
    data = load_task_data(recipe(tmp_path, "jsonl", type="tagging", metric="accuracy"))
    assert data.label_names == ("0", "9", "10")
    assert data.dev.labels.tolist() == [0, 2, 1]
    assert data.dev.texts[0] == ("a", "b", "[1]")


def test_entities_need_tags_that_name_them(tmp_path: Path) -> None:
    for split in ("train", "dev"):
        write(tmp_path / f"{split}.jsonl", [(["a", "b"], ["DET", "NOUN"])])
    with pytest.raises(DataError, match=r'such as B-PER(.|\n)*"DET" is none(.|\n)*metric = "accuracy"'):
        load_task_data(recipe(tmp_path, "jsonl"))
    assert load_task_data(recipe(tmp_path, "jsonl", type="tagging", metric="accuracy")).label_names == ("DET", "NOUN")


def test_two_spaces_hold_an_empty_word(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", ROWS)
    (tmp_path / "dev.jsonl").write_text(json.dumps({"words": "a  film", "tags": "O O B-X"}) + "\n")
    assert list(load_task_data(recipe(tmp_path, "jsonl")).dev.texts) == [("a", "", "film")]


@pytest.fixture(params=["bert", "xlmr"])
def tokenizer(request: pytest.FixtureRequest, toy_model: Path, tmp_path: Path) -> TextTokenizer:
    if request.param == "bert":
        return load_tokenizer(toy_model)
    save_xlmr_tokenizer(tmp_path)
    return load_tokenizer(tmp_path)


# "film" is one token, "filmx" several, "" and the zero-width space none or nothing of its own.
WORDS = (("the", "filmx", "good"), ("", "plot"), ("a",) * 12)


def split_of(words: tuple[tuple[str, ...], ...]) -> Split:
    labels = np.arange(sum(map(len, words))) % len(TAGS)
    return Split("dev", words, labels, ("",) * len(words), tags=TAGS)


def test_a_word_is_found_at_its_first_token(tokenizer: TextTokenizer) -> None:
    rows, places = tokenize_words(split_of(WORDS).texts, tokenizer, 8)
    for row, words, first in zip(rows, WORDS, places, strict=True):
        # Independent: a word's own tokens, one word after the other, after the one token at the start.
        expected, at = [], 1
        for word in words:
            own = tokenizer.backend.encode(word, add_special_tokens=False).ids if word else []
            expected.append(at if own and at < 8 - 1 else -1)
            at += len(own)
        if "" not in words:
            assert first.tolist() == expected
        assert len(row["input_ids"]) <= 8
    assert places[2].tolist() == [1, 2, 3, 4, 5, 6, *[-1] * 6]
    assert places[1][1] > 0


def test_only_first_tokens_are_labelled_whatever_the_side_of_padding(tokenizer: TextTokenizer) -> None:
    split = split_of(WORDS)
    made = TokenizedSplit.of_words(split, tokenizer, 8)
    for side in ("right", "left"):
        tokenizer.padding = replace(tokenizer.padding, side=side)
        batch = Collator(tokenizer)([made[i] for i in (2, 0, 1)])
        assert batch["labels"].shape == batch["input_ids"].shape
        assert torch.all(batch["labels"][batch["attention_mask"] == 0] == IGNORED)
        for place, row in enumerate((2, 0, 1)):
            labels = batch["labels"][place]
            read = made.places[row] >= 0
            assert labels[labels != IGNORED].tolist() == split.labels_of(row)[read].tolist()
            real = batch["attention_mask"][place].bool()
            assert labels[real].tolist() == made.labels[row].tolist()


def test_logits_come_back_word_by_word_in_the_order_of_the_split(tokenizer: TextTokenizer) -> None:
    split = split_of(WORDS)
    made = TokenizedSplit.of_words(split, tokenizer, 8)
    for side in ("right", "left"):
        tokenizer.padding = replace(tokenizer.padding, side=side)
        by_row: dict[int, np.ndarray] = {}
        for indices in ([2, 0], [1]):
            batch = Collator(tokenizer)([made[i] for i in indices])
            mask = batch["attention_mask"].numpy()
            # Logits that name their row and the token's place in it.
            logits = np.full((*mask.shape, 2), -1.0, dtype=np.float32)
            for place, row in enumerate(indices):
                logits[place, mask[place] == 1, 0] = row
                logits[place, mask[place] == 1, 1] = np.arange(mask[place].sum())
            by_row |= read_off(made, indices, logits, mask)
        words = in_order(by_row)
        assert len(words) == sum(map(len, WORDS)) == len(split.labels)
        places = np.concatenate(made.places)
        assert np.isnan(words[places == -1]).all()
        assert words[places >= 0, 1].tolist() == places[places >= 0].tolist()
        assert words[places >= 0, 0].tolist() == split.sentence_of_word[places >= 0].tolist()
    assert made.unread == int(np.sum(places == -1)) >= 6


def test_a_sentence_without_words_is_no_trouble(tokenizer: TextTokenizer) -> None:
    split = split_of(((), ("film",)))
    made = TokenizedSplit.of_words(split, tokenizer, 8)
    batch = Collator(tokenizer)([made[0], made[1]])
    assert torch.all(batch["labels"][0] == IGNORED)
    logits = np.zeros((*batch["input_ids"].shape, 2), dtype=np.float32)
    assert in_order(read_off(made, [0, 1], logits, batch["attention_mask"].numpy())).shape == (1, 2)
