"""The rows of the preflight: those that a run is most likely to break off at, and they are read as they were."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sdp.data.batches import TokenizedSplit
from sdp.data.load import load_task_data
from sdp.data.rows import Split
from sdp.preflight.rows import few_rows, write_rows
from sdp.recipe import Recipe, load_recipe
from support.toy import RECIPE

LONG = "many many many many many"
# Few letters, and each of them a token.
DENSE = "ЖЩЮЖЩЮЖЩЮ"
SHORT = ["x", "xx xx", "xx xx xx"]


def letters(split: Split) -> TokenizedSplit:
    """Latin words are a token each, other letters as well; an id is the letter's."""
    rows = []
    for texts in split.texts:
        words = " ".join(texts).split()
        ids = [ord(letter) for word in words for letter in (word if not word.isascii() else word[0])]
        rows.append({"input_ids": ids})
    return TokenizedSplit(rows, split.labels)


def a_split(texts: list[str], labels: list, parts: tuple[str, ...] | None = None, **more: object) -> Split:
    values = np.array(labels)
    return Split("dev", [(text,) for text in texts], values, parts or ("",) * len(texts), **more)


def chosen(split: Split, **how: bool) -> set[str]:
    return {texts[0] for texts in few_rows(split, letters, **{"every_label": False, "every_id": False, **how}).texts}


def test_the_longest_are_so_in_tokens_and_the_shortest_may_be_empty() -> None:
    ordinary = [f"{'w' * 13} {number}" for number in range(100)]
    split = a_split([*ordinary, DENSE, "", LONG], [0] * 103)
    assert chosen(split) == {DENSE, LONG, ""}


def test_a_row_of_each_label_the_shortest_one() -> None:
    texts = [f"{'word ' * (6 - row % 3)}{row % 10}" for row in range(60)]
    split = a_split(texts, [row % 10 for row in range(60)])
    rows = few_rows(split, letters, every_label=True, every_id=False)
    assert set(rows.labels.tolist()) == set(range(10))
    assert len(rows) <= 13
    assert set(few_rows(split, letters, every_label=False, every_id=False).labels.tolist()) >= {0, 1, 2, 3}
    numbers = a_split(texts, [float(row) for row in range(60)])
    assert {0.0, 59.0} <= set(few_rows(numbers, letters, every_label=True, every_id=False).labels.tolist())


def test_each_language_has_its_own_and_the_largest_id_is_found_where_it_is_looked_for() -> None:
    texts = [*SHORT * 20, LONG, DENSE, "ok 😀 ok"]
    split = a_split(texts, [0] * 63, parts=("en",) * 30 + ("de",) * 33)
    few = few_rows(split, letters, every_label=False, every_id=False)
    assert {"en", "de"} == set(few.parts)
    assert "ok 😀 ok" not in chosen(split)
    assert "ok 😀 ok" in chosen(split, every_id=True)


def test_a_ranking_keeps_a_list_that_has_something_to_rank() -> None:
    groups = np.repeat(np.arange(20), 3)
    relevance = np.zeros(60, dtype=np.float32)
    relevance[43] = 2
    split = a_split([f"row {row}" for row in range(60)], relevance.tolist(), groups=groups)
    few = few_rows(split, letters, every_label=False, every_id=False)
    assert set(few.labels[few.groups == 14].tolist()) == {0.0, 2.0}


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A tagger in two languages."""
    files = RECIPE.replace("train.tsv", "train.jsonl").replace("dev.tsv", "dev.{language}.jsonl")
    (tmp_path / "toy.toml").write_text(files)
    for name in ("train", "dev.en", "dev.de"):
        rows = [{"words": ["a", f"{name} {row}", ""], "tags": ["O", "B-X", "I-X"]} for row in range(9)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    overrides = (
        *('task.type="tagging"', 'task.eval_languages=["en","de"]', 'data.text=["words"]', 'data.label="tags"'),
    )
    return load_recipe(tmp_path / "toy.toml", overrides)


def test_written_rows_are_read_as_they_were(recipe: Recipe, tmp_path: Path) -> None:
    data = load_task_data(recipe)
    section = write_rows({"train": data.train, "dev": data.dev}, data, recipe.data, tmp_path / "few")
    again = load_task_data(recipe.model_copy(update={"data": section}))
    assert again.label_names == data.label_names
    for before, after in ((data.train, again.train), (data.dev, again.dev)):
        assert [tuple(texts) for texts in after.texts] == [tuple(texts) for texts in before.texts]
        assert after.labels.tolist() == before.labels.tolist()
    assert again.dev.parts == data.dev.parts
    assert again.development.parts == ("en",) * 9
