"""Which texts measure a file and which compare it, and the numbers of the comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sdp.errors import DataError
from sdp.shrink.compare import agreement
from sdp.shrink.samples import FEWEST, read_samples, usable_inputs
from sdp_onnx.deploy.tokenization import TextTokenizer


@pytest.fixture
def tokenizer(toy_model: Path) -> TextTokenizer:
    found = TextTokenizer.read(toy_model, ("input_ids", "attention_mask"))
    found.cut_at(12)
    return found


def write(path: Path, count: int) -> Path:
    # Digit by digit, as the tokenizer knows them; the first comes twice.
    path.write_text("".join(f"the film {' '.join(str(number))}\n" for number in range(count)) + "the film 0\n")
    return path


def test_rows_are_drawn_once_and_in_two_parts(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    path = write(tmp_path / "texts.txt", 300)
    found = read_samples(path, (), tokenizer, 100, 50, seed=1)
    assert (len(found.measured), len(found.compared)) == (100, 50)
    keys = {tuple(row["input_ids"]) for row in (*found.measured, *found.compared)}
    assert len(keys) == 150
    assert found == read_samples(path, (), tokenizer, 100, 50, seed=1)
    assert found.measured != read_samples(path, (), tokenizer, 100, 50, seed=2).measured
    # Of fewer, the measured ones first; of very few enough to compare.
    few = read_samples(write(tmp_path / "few.txt", 120), (), tokenizer, 100, 50, seed=1)
    assert (len(few.measured), len(few.compared)) == (100, 20)
    least = read_samples(write(tmp_path / "least.txt", 2 * FEWEST), (), tokenizer, 512, 64, seed=1)
    assert (len(least.measured), len(least.compared)) == (FEWEST, FEWEST)
    batches = found.batches(found.measured, 32)
    assert [len(batch["input_ids"]) for batch in batches] == [32, 32, 32, 4]
    lengths = [batch["attention_mask"].sum(axis=1).max() for batch in batches]
    assert lengths == sorted(lengths)


def test_pairs_are_two_columns_of_a_table(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("a\tb\n" + "".join(f"film {number}\tplot {number}\n" for number in range(40)))
    found = read_samples(path, ("a", "b"), tokenizer, 20, 20, seed=0)
    assert all(row["input_ids"].count(tokenizer.backend.token_to_id("[SEP]")) == 2 for row in found.measured)


@pytest.mark.parametrize(
    ("name", "columns", "words"),
    [
        ("texts.txt", ("a",), "a txt file has no columns"),
        ("table.tsv", (), "which column has the texts"),
        ("table.tsv", ("b",), "b"),
        ("few.txt", (), "at least 32 are needed"),
        ("nowhere.txt", (), "nowhere.txt"),
    ],
)
def test_what_cannot_be_read(
    name: str, columns: tuple[str, ...], words: str, tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    write(tmp_path / "texts.txt", 50)
    write(tmp_path / "few.txt", 31)
    (tmp_path / "table.tsv").write_text("a\n" + "".join(f"film {number}\n" for number in range(40)))
    with pytest.raises(DataError, match=words):
        read_samples(tmp_path / name, columns, tokenizer, 20, 20, seed=0)


def test_the_difference_of_vectors() -> None:
    before = np.array([[3.0, 4.0], [1.0, 0.0]])
    found = agreement("logits", before, np.array([[6.0, 8.0], [0.0, 2.0]]), 2)
    assert found.cosine == pytest.approx(0.5)
    assert found.same_predictions == pytest.approx(1.0 - 0.5 + 0.5 * 0)
    assert found.relative_difference == pytest.approx(np.sqrt(25 + 5) / np.sqrt(26))
    assert agreement("sentence_embedding", before, before, 2).same_predictions is None
    assert agreement("logits", before[:, :1], before[:, :1], 2).same_predictions is None
    assert agreement("logits", np.zeros((2, 3)), np.zeros((2, 3)), 2).relative_difference == 0


@pytest.mark.parametrize(
    ("names", "usable"),
    [
        (("input_ids", "attention_mask"), True),
        (("input_ids", "attention_mask", "token_type_ids"), True),
        (("input_ids",), False),
        (("input_ids", "attention_mask", "pixel_values"), False),
    ],
)
def test_a_tokenizer_makes_all_inputs_or_the_file_is_refused(names: tuple[str, ...], usable: bool) -> None:
    assert usable_inputs(names) is usable
