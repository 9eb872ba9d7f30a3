"""What training tokenizes is what tokenizer.json alone gives, and what transformers gave of the model's own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from sdp.data.batches import TokenizedSplit, tokenize
from sdp.data.rows import Split
from sdp.errors import ModelError, StageError
from sdp.models.tokenizer import check_tokenizer, load_tokenizer, save_tokenizer, saved_tokenizer
from sdp_onnx.deploy.tokenization import TextTokenizer
from support.tokenizer_kinds import KINDS, WORDS, byte_level, wordpiece

LENGTH = 12
TEXTS = [
    "good film",
    " ".join(WORDS * 3),
    "",
    "  The FILM\twas\n\nsuperb!!  ",
    "ÜBER naïve Zürich É",
    "東京 was a fine 映画",
    "👩‍👩‍👧 \u200b\u00a0 [SEP] </s> [MASK]",
    "\x00\x01\ufeff",
    "a   <mask>  film [USER] lovely-ish Zürich, fine",
    "x" * 300,
]
PAIRS = [(text, TEXTS[(place + 1) % len(TEXTS)]) for place, text in enumerate(TEXTS)]


def rows_of(batch: list[dict[str, list[int]]]) -> list[list[int]]:
    return [row["input_ids"] for row in batch]


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return KINDS[request.param](tmp_path / "model")


@pytest.mark.parametrize("given", [TEXTS, PAIRS], ids=["texts", "pairs"])
def test_tokenizer_json_alone_gives_what_training_saw(given: list, folder: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(folder)
    tokenizer.cut_at(LENGTH)
    trained = tokenizer.encode([(text,) if isinstance(text, str) else text for text in given])
    saved = tmp_path / "saved"
    saved.mkdir()
    save_tokenizer(tokenizer, saved)

    # transformers of the model's own files, asked in words of its own.
    own = AutoTokenizer.from_pretrained(folder)
    columns = [given] if isinstance(given[0], str) else [list(column) for column in zip(*given, strict=True)]
    expected = own(*columns, truncation="longest_first", max_length=LENGTH, split_special_tokens=False)
    nothing = [tokenizer.padding.id]
    assert [row.inputs["input_ids"] for row in trained] == [ids or nothing for ids in expected["input_ids"]]
    assert max(len(row.inputs["input_ids"]) for row in trained) == LENGTH

    # The file as anybody loads it: it cuts and pads.
    plain = Tokenizer.from_file(str(saved / "tokenizer.json")).encode_batch(given)
    batch = tokenizer.pad([row.inputs for row in trained])
    for place, (encoding, row) in enumerate(zip(plain, trained, strict=True)):
        if sum(encoding.attention_mask):
            assert encoding.ids == batch["input_ids"][place].tolist()
            assert encoding.attention_mask == batch["attention_mask"][place].tolist()
            assert "token_type_ids" not in batch or encoding.type_ids == batch["token_type_ids"][place].tolist()
        else:
            assert row.inputs["input_ids"] == nothing

    # transformers of what is shipped, which the card's other examples load.
    shipped = AutoTokenizer.from_pretrained(saved)(*columns, truncation=True, padding=True, return_tensors="np")
    assert set(shipped) == set(tokenizer.inputs)
    filled = np.array([bool(ids) for ids in expected["input_ids"]])
    for name, values in batch.items():
        np.testing.assert_array_equal(shipped[name][filled], values[filled])

    # And the next stage's.
    again = saved_tokenizer(saved)
    assert (again.inputs, again.padding, again.cut_side, again.max_length) == (
        tokenizer.inputs,
        tokenizer.padding,
        tokenizer.cut_side,
        LENGTH,
    )
    assert again.encode([("good film",)]) == tokenizer.encode([("good film",)])


def test_words_are_split_as_in_a_text(folder: Path, tmp_path: Path) -> None:
    sentence = ("the", "film", "was", "superb")
    tokenizer = load_tokenizer(folder, words=True)
    (row,) = tokenizer.encode([sentence], words=True)
    in_text = AutoTokenizer.from_pretrained(folder)("x " + " ".join(sentence), add_special_tokens=False)["input_ids"]
    alone = AutoTokenizer.from_pretrained(folder)("x", add_special_tokens=False)["input_ids"]
    own = [token for token, word in zip(row.inputs["input_ids"], row.words, strict=True) if word is not None]
    assert own == in_text[len(alone) :]
    # And by whoever loads what is shipped.
    saved = tmp_path / "saved"
    saved.mkdir()
    save_tokenizer(tokenizer, saved)
    plain = Tokenizer.from_file(str(saved / "tokenizer.json")).encode(list(sentence), is_pretokenized=True)
    shipped = AutoTokenizer.from_pretrained(saved)(list(sentence), is_split_into_words=True)
    assert row.inputs["input_ids"] == plain.ids == shipped["input_ids"]
    assert row.words == plain.word_ids == shipped.word_ids()


def test_a_word_of_a_byte_level_tokenizer_is_one_piece(tmp_path: Path) -> None:
    """Without a space before it, "superb" would be the inside of a longer word: other pieces, badly learned."""
    (row,) = load_tokenizer(byte_level(tmp_path), words=True).encode([("superb", "film")], words=True)
    assert row.words == [None, 0, 1, None]
    (row,) = load_tokenizer(tmp_path).encode([("superb", "film")], words=True)
    assert len(row.words) > 4


def test_a_tokenizer_that_runs_in_python_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("cat 0\ndog 1\n")
    (tmp_path / "bpe.codes").write_text("c a 1\nca t</w> 1\n")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PhobertTokenizer"}')
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    with pytest.raises(ModelError, match=r"PhobertTokenizer exists in Python only(.|\n)*a tokenizer.json"):
        load_tokenizer(tmp_path)


def test_a_text_of_no_tokens_is_one_that_is_attended_to(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(wordpiece(tmp_path, frame=False, cls_token=None, sep_token=None))
    one, two = tokenizer.encode([("",), ("good film",)])
    batch = tokenizer.pad([one.inputs, two.inputs])
    assert batch["attention_mask"].tolist() == [[1, 0], [1, 1]]
    assert batch["input_ids"][0].tolist() == [0, 0]
    assert TextTokenizer(tokenizer.backend).encode([()], words=True)[0].words == []


@pytest.mark.parametrize("words", [False, True])
def test_the_export_finds_a_file_that_cuts_elsewhere(tmp_path: Path, *, words: bool) -> None:
    tokenizer = load_tokenizer(wordpiece(tmp_path, truncation_side="left"))
    texts = tuple(("good film", " ".join(WORDS * count)) for count in (1, 0, 2))
    split = Split("test", texts, np.zeros(6 if words else 3, np.int64), ("",) * 3, tags=("O",) if words else None)
    rows = TokenizedSplit.of_words(split, tokenizer, LENGTH) if words else None
    rows = rows or TokenizedSplit(tokenize(split.texts, tokenizer, LENGTH), split.labels)
    tokenizer.write(tmp_path)
    check_tokenizer(tmp_path, split, rows)
    tokenizer.cut_side = "right"
    tokenizer.cut_at(LENGTH)
    tokenizer.write(tmp_path)
    with pytest.raises(StageError, match="gets other tokens"):
        check_tokenizer(tmp_path, split, rows)
