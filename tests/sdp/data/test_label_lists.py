"""The labels of rows that may have several: every form in which a file can hold them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.data.label_lists import label_lists
from sdp.data.labels import label_set_names, label_sets
from sdp.data.load import load_task_data
from sdp.data.rows import RawSplit, Split
from sdp.errors import DataError
from sdp.recipe.sections import Recipe

WANTED = [("joy", "relief"), (), ("anger",), ("joy",)]
FORMS = {
    "lists": {"labels": [list(own) for own in WANTED]},
    "arrays": {"labels": [np.array(own, dtype=object) for own in WANTED]},
    "bars": {"labels": ["joy|relief", "", "anger", "joy"]},
    "spaces around bars": {"labels": ["joy | relief", " ", " anger", "joy"]},
    "JSON": {"labels": [json.dumps(own) for own in WANTED]},
    "Python": {"labels": [str(list(own)) for own in WANTED]},
    "columns": {"anger": [0, 0, 1, 0], "joy": ["1", "0", "0", "1"], "relief": [True, False, False, False]},
    "columns of fractions": {"anger": [0.0, 0.0, 1.0, 0.0], "joy": ["1.0", "0", "0", "1"], "relief": ["True", *"000"]},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_labels(form: str) -> None:
    assert label_lists(FORMS[form], list(FORMS[form]), "rows") == WANTED


@pytest.mark.parametrize(
    ("columns", "what", "where"),
    [
        ({"labels": [["a"], None]}, 'the column "labels" has no value', "rows.csv, row 2"),
        ({"labels": [float("nan")]}, 'the column "labels" has no value', "rows.csv, row 1"),
        ({"a": [0, 1], "b": [0, 2]}, 'the column "b" holds 2, which is neither 0 nor 1', "rows.csv, row 2"),
        ({"a": [0], "b": [""]}, "neither 0 nor 1", "rows.csv, row 1"),
        ({"a": [0], "b": [None]}, "neither 0 nor 1", "rows.csv, row 1"),
    ],
)
def test_what_is_no_label_is_refused(columns: dict, what: str, where: str) -> None:
    with pytest.raises(DataError, match=what) as raised:
        label_lists(columns, list(columns), "rows.csv")
    assert raised.value.where == where


def raw(*labels: tuple[object, ...]) -> RawSplit:
    return RawSplit("train", "rows.csv", (("a",),) * len(labels), labels, ("",) * len(labels))


def test_the_table_of_labels() -> None:
    split = raw(("b", "a"), (), ("b", "b"))
    assert label_set_names(split) == ("a", "b")
    assert label_sets(split, ("a", "b")).tolist() == [[1, 1], [0, 0], [0, 1]]
    assert label_set_names(raw((10,), (2, 10.0))) == ("2", "10")
    assert label_sets(raw(), ("a", "b")).shape == (0, 2)


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        (((), ()), "no label occurs in training"),
        ((("a",), ("a",)), "the label a alone occurs in training"),
        ((("a",), ("a ", "b")), "differ only in how they are written"),
        ((("a", None), ("b",)), "the label is missing"),
        (((["a"],), ("b",)), "which is neither text nor a number"),
    ],
)
def test_labels_that_cannot_be_learned(labels: tuple[tuple[object, ...], ...], what: str) -> None:
    with pytest.raises(DataError, match=what):
        label_set_names(raw(*labels))


def test_a_label_that_training_lacks_is_refused_by_name() -> None:
    with pytest.raises(DataError, match='the label "c" does not occur in training'):
        label_sets(raw(("a",), ("c",)), ("a", "b"))


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=6), st.permutations(range(3)))
def test_another_order_of_the_labels_changes_no_row(rows: list[list[bool]], ids: list[int]) -> None:
    """As `Split.with_ids` of classes: label k becomes column ids[k], and back."""
    labels = np.array(rows, dtype=np.float32)
    split = Split("dev", (("a",),) * len(rows), labels, ("",) * len(rows))
    turned = split.with_ids(ids)
    for k, place in enumerate(ids):
        assert (turned.labels[:, place] == labels[:, k]).all()
    back = turned.with_ids(turned.own_ids)
    assert (back.labels == labels).all()


def recipe(folder: Path, **data: object) -> Recipe:
    columns = {"train": str(folder / "train.csv"), "dev": str(folder / "train.csv"), "text": ["text"], **data}
    return Recipe.model_validate(
        {"name": "x", "model": {"name": "x"}, "task": {"type": "multi-label"}, "data": columns}
    )


def test_a_csv_file_with_a_column_for_each_label(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,toxic,insult\none,1,0\ntwo,0,0\nthree,1,1\n")
    data = load_task_data(recipe(tmp_path, label=["toxic", "insult"]))
    assert data.label_names == ("insult", "toxic")
    assert data.train.multi_label
    assert data.train.labels.tolist() == [[0, 1], [0, 0], [1, 1]]
    assert data.in_order(("toxic", "insult")).train.labels.tolist() == [[1, 0], [0, 0], [1, 1]]


@pytest.mark.parametrize(
    ("task", "label", "what"),
    [
        ("classification", ["a", "b"], "a classification task has one label column"),
        ("multi-label", ["a", "a"], "names two columns or more, each once"),
        ("multi-label", ["a"], "names two columns or more, each once"),
    ],
)
def test_a_list_of_columns_is_of_this_task_alone(task: str, label: list[str], what: str) -> None:
    data = {"train": "t.csv", "dev": "d.csv", "text": ["text"], "label": label}
    with pytest.raises(ValueError, match=what):
        Recipe.model_validate({"name": "x", "model": {"name": "x"}, "task": {"type": task}, "data": data})
