"""From recipes to splits: sources, labels, languages, folders in hub form."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sdp.data.identity import count_rows, data_identity
from sdp.data.load import load_task_data
from sdp.data.source import resolve_source
from sdp.errors import DataError
from sdp.recipe import Recipe
from support.toy import toy_rows, write_tsv

SHARED = Path(__file__).parents[4] / "shared" / "data"


def recipe(data: dict[str, Any], **task: Any) -> Recipe:
    task = task or {"type": "classification"}
    return Recipe.model_validate({"name": "x", "model": {"name": "m"}, "task": task, "data": data})


def own(folder: Path, **data: Any) -> Recipe:
    files = {split: str(folder / f"{split}.tsv") for split in ("train", "dev")}
    return recipe({**files, "text": ("sentence",), "label": "label", **data})


def labelled(folder: Path, train: list[str], dev: list[str], **task: Any) -> Recipe:
    for name, labels in (("train", train), ("dev", dev)):
        write_tsv(folder / f"{name}.tsv", [(f"text {i}", label) for i, label in enumerate(labels)])
    made = own(folder)
    return recipe(made.data.model_dump(exclude_none=True), **task) if task else made


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["1", "01", "001"], ("001", "01", "1")),
        (["nan", "None", "null"], ("None", "nan", "null")),
        (["1" * 5000, "2"], ("1" * 5000, "2")),
        (["b", "a", "c"], ("a", "b", "c")),
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["1", "0"], ("0", "1")),
    ],
)
def test_classes_are_sorted_integers_by_value(labels: list[str], names: tuple[str, ...], tmp_path: Path) -> None:
    data = load_task_data(labelled(tmp_path, labels, labels))
    assert data.label_names == names
    assert [names[i] for i in data.train.labels] == labels
    assert data.train.labels.dtype == np.int64
    assert data.test is None
    assert data.evaluation(None) is data.dev
    with pytest.raises(DataError, match="no test split"):
        data.evaluation("test")


@pytest.mark.parametrize(
    ("train", "dev", "message"),
    [
        (["a", "b"], ["a", "c"], r'dev.tsv, row 2: the label "c" does not occur in training\n.*a, b'),
        (["0", "1"], ["-1"], "hidden labels"),
        (["a", ""], ["a"], r"train.tsv, row 2: the label is missing"),
        (["a", "a"], ["a"], "same label"),
        (
            ["1", "1.0", "2"],
            ["1"],
            'train.tsv: the labels "1" and "1.0" differ only in how they are written\n.*every row',
        ),
        (["True", "true"], ["true"], 'the labels "True" and "true" differ only'),
        (["a", "a ", "b"], ["a"], 'the labels "a" and "a " differ only'),
    ],
)
def test_labels_that_cannot_be(train: list[str], dev: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load_task_data(labelled(tmp_path, train, dev))


def test_f1_is_for_two_classes(tmp_path: Path) -> None:
    two = labelled(tmp_path, ["a", "b"], ["a"], type="classification", metric="f1")
    assert load_task_data(two).label_names == ("a", "b")
    three = labelled(tmp_path, ["a", "b", "c"], ["a"], type="classification", metric="f1")
    with pytest.raises(DataError, match=r"train.tsv: .*training has 3\n.*macro-f1"):
        load_task_data(three)


def test_regression_reads_numbers_and_nothing_else(tmp_path: Path) -> None:
    data = load_task_data(labelled(tmp_path, ["1", "2.5"], ["-3e-1"], type="regression"))
    assert data.label_names == ()
    assert data.train.labels.tolist() == [1, 2.5]
    assert data.dev.labels.dtype == np.float32
    for bad in ("high", "nan", "inf", "", "1_000"):
        with pytest.raises(DataError, match=r"row 1: the label .* is no finite number"):
            load_task_data(labelled(tmp_path, ["1", "2"], [bad], type="regression"))
    with pytest.raises(DataError, match=r"row 1: the label '0,5' is no finite number\n  .*with a point: 0\.5"):
        load_task_data(labelled(tmp_path, ["1", "2"], ["0,5"], type="regression"))


def test_texts_must_be_texts(tmp_path: Path) -> None:
    made = labelled(tmp_path, ["a", "b"], ["a"])
    (tmp_path / "dev.jsonl").write_text('{"sentence": null, "label": "a"}\n')
    with pytest.raises(DataError, match=r"dev.jsonl, row 1: .* holds no text"):
        load_task_data(recipe({**made.data.model_dump(exclude_none=True), "dev": str(tmp_path / "dev.jsonl")}))


def test_known_tasks_fill_in_what_the_recipe_leaves_out() -> None:
    hub = resolve_source(recipe({}, name="xnli"))
    assert (hub.dataset, hub.config, hub.text) == ("facebook/xnli", "{language}", ("premise", "hypothesis"))
    assert hub.splits == {"train": "train", "dev": "validation", "test": "test"}
    files = resolve_source(
        recipe({"train": "t.{language}.tsv", "dev": "d.{language}.tsv", "text": ("a", "b")}, name="xnli")
    )
    assert (files.dataset, files.text, files.label) == (None, ("a", "b"), ("label",))
    assert set(files.splits) == {"train", "dev"}


def test_languages_are_read_one_after_the_other(tmp_path: Path) -> None:
    for language in ("en", "de"):
        for split in ("train", "dev"):
            write_tsv(tmp_path / f"{split}.{language}.tsv", [(f"{language} {split} {k}", k) for k in "ab"])
    made = recipe(
        {s: str(tmp_path / f"{s}.{{language}}.tsv") for s in ("train", "dev")}
        | {"text": ("sentence",), "label": "label"},
        type="classification",
        train_languages=("en",),
        eval_languages=("en", "de"),
    )
    data = load_task_data(made)
    assert data.train.parts == ("en", "en")
    assert data.dev.parts == ("en", "en", "de", "de")
    assert data.dev.texts[2] == ("de dev a",)
    assert count_rows(made) == {"train": 2, "dev": 4, "test": None}


@pytest.fixture
def hub_folder(tmp_path: Path) -> Path:
    """A data set as the hub stores one: parquet files and a README that says which split and class names they have."""
    folder = tmp_path / "toyset"
    (folder / "data").mkdir(parents=True)
    for split, seed in (("train", 1), ("validation", 2)):
        rows = [(text, int(label == "pos")) for text, label in toy_rows(20, seed)]
        pd.DataFrame(rows, columns=["sentence", "label"]).to_parquet(
            folder / "data" / f"{split}-00000-of-00001.parquet"
        )
    (folder / "README.md").write_text(
        """---
dataset_info:
  features:
  - name: sentence
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': negative
          '1': positive
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
  - split: validation
    path: data/validation-*
---
"""
    )
    return folder


def test_a_folder_in_hub_form(hub_folder: Path) -> None:
    columns = {"text": ("sentence",), "label": "label"}
    made = recipe({"dataset": str(hub_folder), "train": "train", "dev": "validation", **columns})
    data = load_task_data(made)
    assert data.label_names == ("negative", "positive")
    assert [text for (text,) in data.train.texts] == [text for text, _ in toy_rows(20, 1)]
    assert count_rows(made) == {"train": 20, "dev": 20, "test": None}
    before = data_identity(made)
    (hub_folder / "data" / "extra.txt").write_text("x")
    assert data_identity(made) != before
    for change, message in (
        ({"dev": "devel"}, "devel"),
        ({"text": ("sentense",)}, 'Did you mean "sentence"'),
        ({"config": "french"}, "french"),
    ):
        with pytest.raises(DataError, match=message):
            load_task_data(
                recipe({"dataset": str(hub_folder), "train": "train", "dev": "validation", **columns, **change})
            )


def test_a_hub_data_set_that_cannot_be_reached() -> None:
    with pytest.raises(DataError, match=r"facebook/xnli, en, train: the data set cannot be loaded(.|\n)*local folder"):
        load_task_data(recipe({}, name="xnli"))


def test_identity_follows_the_content_not_the_place(tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        labelled(tmp_path / place, ["x", "y"], ["x"])
    assert data_identity(own(tmp_path / "a")) == data_identity(own(tmp_path / "b"))
    labelled(tmp_path / "b", ["x", "z"], ["x"])
    assert data_identity(own(tmp_path / "a")) != data_identity(own(tmp_path / "b"))


def test_languages_in_folders_of_their_own_are_distinguished(tmp_path: Path) -> None:
    for language in ("en", "de", "fr"):
        (tmp_path / language).mkdir()
        for split in ("train", "dev"):
            write_tsv(tmp_path / language / f"{split}.tsv", [("a", "x"), ("b", "y")])
    files = {split: str(tmp_path / "{language}" / f"{split}.tsv") for split in ("train", "dev")}
    made = recipe(
        {**files, "text": ("sentence",), "label": "label"}, type="classification", eval_languages=("en", "de", "fr")
    )
    before = data_identity(made)
    seen = [before]
    for language in ("en", "de", "fr"):
        write_tsv(tmp_path / language / "dev.tsv", [("a", "y"), ("b", "x")])
        seen.append(data_identity(made))
        assert seen[-1] not in seen[:-1], language
    assert len(before) == 4


@pytest.mark.parametrize(("key", "mark"), [("eval_languages", "{language}"), ("subsets", "{subset}")])
def test_parts_that_no_name_asks_for_are_reported(key: str, mark: str, tmp_path: Path) -> None:
    made = labelled(tmp_path, ["x", "y"], ["x"], **{"type": "classification", key: ("a", "b")})
    with pytest.raises(DataError, match=f"task.{key}: no name") as caught:
        load_task_data(made)
    assert mark in str(caught.value)


def test_another_split_of_a_data_set_is_other_data(hub_folder: Path, tmp_path: Path) -> None:
    data = {"dataset": str(hub_folder), "text": ("sentence",), "label": "label", "train": "train"}
    one, other = (recipe({**data, "dev": dev}) for dev in ("validation", "train"))
    assert data_identity(one) != data_identity(other)
    # A folder below one that is called .cache, as the hub's are, is read like any other.
    hidden = tmp_path / ".cache" / "toyset"
    shutil.copytree(hub_folder, hidden)
    assert data_identity(recipe({**data, "dev": "validation", "dataset": str(hidden)})) == data_identity(one)


@pytest.mark.skipif(not (SHARED / "sst2").is_dir(), reason="the benchmark data is not here")
def test_real_benchmark_files() -> None:
    sst2 = {"train": str(SHARED / "sst2/train_sentences.tsv.gz"), "dev": str(SHARED / "sst2/dev.tsv.gz")}
    data = load_task_data(recipe({**sst2, "text": ("sentence1",), "label": "label"}))
    assert (len(data.train), len(data.dev), data.label_names) == (6920, 872, ("0", "1"))
    xnli = {"train": str(SHARED / "xnli/train.{language}.tsv.gz"), "dev": str(SHARED / "xnli/dev.{language}.tsv.gz")}
    data = load_task_data(recipe({**xnli, "text": ("sentence1", "sentence2")}, name="xnli"))
    assert len(data.dev) == 15 * 2490
    assert data.label_names == ("entailment", "neutral", "contradiction")


def test_training_rows_are_drawn_once_and_smaller_draws_are_part_of_larger_ones(tmp_path: Path) -> None:
    made = labelled(tmp_path, ["a", "b"] * 50, ["a", "b"])
    drawn = {}
    for seed in (0, 1):
        for rows in (10, 30, 500):
            data = {**made.data.model_dump(exclude_none=True), "train_rows": rows}
            cut = recipe(data).model_copy(update={"seed": seed})
            train = load_task_data(cut).train
            assert len(train) == min(rows, 100) == count_rows(cut)["train"]
            drawn[seed, rows] = [text for (text,) in train.texts]
    assert drawn[0, 10] == drawn[1, 10]
    assert set(drawn[0, 10]) < set(drawn[0, 30])
    whole = [f"text {i}" for i in range(100)]
    assert drawn[0, 500] == whole
    assert drawn[0, 30] == [text for text in whole if text in drawn[0, 30]], "in the split's order"
    assert drawn[0, 30] != whole[:30]


def test_the_classes_of_a_known_task_are_its_own(tmp_path: Path) -> None:
    for labels, ids in ((["contradiction", "entailment"], [2, 0]), (["1", "2"], [1, 2])):
        data = load_task_data(labelled(tmp_path, labels, labels, name="xnli", eval_languages=("en",)))
        assert data.label_names == ("entailment", "neutral", "contradiction")
        assert data.train.labels.tolist() == ids
    for bad in ("maybe", "3", "-1"):
        with pytest.raises(DataError, match=r'"-?\w+" is no class of the task(.|\n)*Classes: entailment'):
            load_task_data(labelled(tmp_path, ["entailment", bad], ["0"], name="xnli"))


def test_training_looks_at_the_dev_rows_of_its_own_languages_alone(tmp_path: Path) -> None:
    for language in ("en", "de", "fr"):
        for split in ("train", "dev", "test"):
            write_tsv(tmp_path / f"{split}.{language}.tsv", [(f"{language} {split} {k}", k) for k in "ab"])
    names = {s: str(tmp_path / f"{s}.{{language}}.tsv") for s in ("train", "dev", "test")}
    made = recipe(
        {**names, "text": ("sentence",), "label": "label"},
        type="classification",
        train_languages=("en",),
        eval_languages=("de", "fr"),
    )
    data = load_task_data(made)
    assert data.development.parts == ("en", "en")
    assert data.evaluation("dev").parts == ("de", "de", "fr", "fr")
    assert data.evaluation(None).parts == ("de", "de", "fr", "fr")
    assert (data.part, data.choices, data.evaluated) == ("language", ("en",), ("de", "fr"))
    assert count_rows(made) == {"train": 2, "dev": 6, "test": 4}
    assert len(data_identity(made)) == 1 + 3 + 2


def test_subsets_are_scored_apart_and_the_first_is_looked_at(tmp_path: Path) -> None:
    write_tsv(tmp_path / "train.tsv", [("t a", "a"), ("t b", "b")])
    for subset in ("old", "new"):
        write_tsv(tmp_path / f"dev_{subset}.tsv", [(f"{subset} {k}", k) for k in "ab"])
    files = {"train": str(tmp_path / "train.tsv"), "dev": str(tmp_path / "dev_{subset}.tsv")}
    columns = {"text": ("sentence",), "label": "label"}
    made = recipe({**files, **columns}, type="classification", subsets=("old", "new"))
    data = load_task_data(made)
    assert data.development.parts == ("old", "old")
    assert data.evaluation(None).parts == ("old", "old", "new", "new")
    assert count_rows(made)["dev"] == 4
    with pytest.raises(DataError, match=r"task\.subsets"):
        load_task_data(recipe({**files, **columns}, type="classification"))
    both = {**files, **columns, "dev": str(tmp_path / "dev_{subset}_{language}.tsv")}
    with pytest.raises(DataError, match="not both"):
        load_task_data(recipe(both, type="classification", subsets=("old",)))


def ranked(folder: Path, relevances: list[Any], queries: list[str], **task: Any) -> Recipe:
    rows = [(q, f"title {i}", f"snippet {i}", r) for i, (q, r) in enumerate(zip(queries, relevances, strict=True))]
    frame = pd.DataFrame(rows, columns=["query", "web_page_title", "web_page_snippet", "relavance_label"])
    for split in ("train", "dev"):
        frame.to_csv(folder / f"{split}.csv", index=False)
    files = {split: str(folder / f"{split}.csv") for split in ("train", "dev")}
    return recipe(files, **(task or {"name": "wpr"}))


def test_a_ranking_has_lists_and_grades(tmp_path: Path) -> None:
    data = load_task_data(ranked(tmp_path, ["Bad", "Perfect", "2", "Fair"], ["q", "q", "r", "q"]))
    assert data.dev.labels.tolist() == [0, 4, 2, 1]
    assert data.dev.groups is not None
    assert data.dev.groups.tolist() == [0, 0, 1, 0]
    assert data.label_names == ()
    assert data.dev.texts[0] == ("q", "title 0", "snippet 0")


@pytest.mark.parametrize(
    ("relevances", "message"),
    [
        (["Bad", "So-so"], r"row 2: the label 'So-so' is no finite number and none of Bad, Fair"),
        (["-1", "Bad"], r"row 1: a relevance is 0 or more"),
        (["Good", "Good"], r"nothing to rank(.|\n)*data\.group"),
    ],
)
def test_relevances_that_cannot_be(relevances: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load_task_data(ranked(tmp_path, relevances, ["q", "q"]))


def test_a_folder_of_a_known_task_needs_not_the_hubs_configurations(hub_folder: Path) -> None:
    made = recipe({"dataset": str(hub_folder)}, name="sst2")
    assert resolve_source(made).config is None
    assert load_task_data(made).label_names == ("negative", "positive")
    readme = hub_folder / "README.md"
    readme.write_text(readme.read_text().replace("config_name: default", "config_name: sst2"))
    assert resolve_source(made).config == "sst2"
    assert len(load_task_data(made).train) == 20
    assert resolve_source(recipe({"dataset": str(hub_folder)}, name="xnli")).config == "{language}"


@pytest.mark.parametrize("suffix", ["tsv", "jsonl", "parquet"])
def test_long_texts_take_no_more_memory_than_short_ones(suffix: str, tmp_path: Path) -> None:
    """A data set may be larger than memory: of a row, what stays does not depend on its text."""
    rows, length = 3000, 5000
    frame = pd.DataFrame({"sentence": ["x" * length] * rows, "label": ["a", "b"] * (rows // 2)})
    frame[:4].to_csv(tmp_path / "dev.tsv", sep="\t", index=False)
    path = tmp_path / f"train.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path)
    elif suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, sep="\t", index=False)
    del frame
    tracemalloc.start()
    data = load_task_data(own(tmp_path, train=str(path)))
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(data.train) == rows
    assert data.train.texts[rows - 1] == ("x" * length,)
    assert held < 200 * rows
    # Some thousand rows are read at a time, of which there are not many here.
    assert peak < 0.9 * rows * length


def test_classes_in_the_order_of_a_head(tmp_path: Path) -> None:
    data = load_task_data(labelled(tmp_path, ["b", "c", "a"], ["a", "b"]))
    turned = data.in_order(("c", "a", "b"))
    assert turned.label_names == ("c", "a", "b")
    for split, labels in ((turned.train, "bca"), (turned.dev, "ab")):
        assert [turned.label_names[label] for label in split.labels] == list(labels)
    assert data.in_order(("a", "b", "c")) is data
    assert data.train.labels.tolist() == [1, 2, 0], "the loaded data stays as it is"
