"""`sdp check` reads the data: it fails where `sdp run` would, and reports what the rows are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from sdp.cli.main import app
from support.toy import ONE_THREAD, toy_rows, write_project, write_tsv

Pairs = list[tuple[str, str]]


def check(folder: Path, model: Path, options: Sequence[str] = (), more: Sequence[str] = (), **splits: Pairs) -> Result:
    recipe = write_project(folder, model)
    for name, rows in splits.items():
        write_tsv(folder / f"{name}.tsv", rows)
    test = ["--set", f'data.test="{folder / "test.tsv"}"'] if "test" in splits else []
    given = [part for option in options for part in ("--set", option)]
    return CliRunner().invoke(app, ["check", str(recipe), "--runs", str(folder / "runs"), *test, *given, *more])


def plan(folder: Path, model: Path, options: Sequence[str] = (), **splits: Pairs) -> dict[str, Any]:
    done = check(folder, model, options, ["--json"], **splits)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("split", "rows", "options", "words"),
    [
        ("test", [("the film", "odd")], (), 'test.tsv, row 1: the label "odd" does not occur in training'),
        ("dev", [("the film", "")], (), "dev.tsv, row 1: the label is missing"),
        ("train", [("the film", "pos"), ("a film", "pos")], (), "every training row has the same label"),
        ("train", [("a", "x"), ("b", "y"), ("c", "z")], ('task.metric="f1"',), "training has 3"),
        ("dev", [("the film", "1")], ('task.type="regression"', 'task.metric="pearson"'), "is no finite number"),
        ("dev", [("the film", "pos")], ('evaluate.split="test"',), "the data has no test split"),
    ],
)
def test_what_run_would_refuse_is_refused(
    split: str, rows: Pairs, options: tuple[str, ...], words: str, tmp_path: Path, toy_model: Path
) -> None:
    done = check(tmp_path, toy_model, options, **{split: rows})
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert "Traceback" not in done.output


def test_a_model_that_is_not_here_hides_no_mistake_in_the_data(tmp_path: Path, toy_model: Path) -> None:
    hub = ('model.name="nobody/no-such-model"',)
    assert "data set" not in check(tmp_path, toy_model, hub).output
    done = check(tmp_path, toy_model, hub, dev=[("the film", "odd")])
    assert (done.exit_code, 'the label "odd"' in done.stderr) == (2, True)


def findings(found: dict[str, Any], kind: str) -> dict[str, str]:
    return {entry["subject"]: entry["sentence"] for entry in found["findings"] if entry["kind"] == kind}


def test_rows_classes_and_overlaps(tmp_path: Path, toy_model: Path) -> None:
    train = [*toy_rows(100, seed=1), ("one long text of a third kind", "odd"), ("The  good film", "pos")]
    test = [("the good FILM", "neg"), ("something new", "odd"), ("more of it", "neg"), ("more of it", "neg")]
    found = plan(tmp_path, toy_model, train=train, test=test)
    assert found["rows"] == {"train": 102, "dev": 60, "test": 4}
    data = found["data"]
    assert data["train"]["classes"] == {"neg": 50, "odd": 1, "pos": 51}
    assert data["test"]["also_in"]["train"] == {"rows": 1, "other_label": 1}
    assert data["test"]["repeated"] == 1
    warnings = findings(found, "warning")
    assert "1 of 3 classes of train do not occur: odd" in warnings["data.dev"]
    assert "1 of 4 rows (25.0%) have the texts of rows of train, 1 of them only with another" in warnings["data.test"]
    table = check(tmp_path, toy_model, train=train, test=test).stdout
    assert "1 (25.0%)" in table
    assert "51 (50.0%)" in table
    assert "Try removing them from train or test." in " ".join(table.split())


def test_a_split_of_one_class(tmp_path: Path, toy_model: Path) -> None:
    found = plan(tmp_path, toy_model, dev=[("the good film", "pos"), ("a great story", "pos")])
    sentences = [entry["sentence"] for entry in found["findings"] if entry["subject"] == "data.dev"]
    assert any("every row has the same label" in sentence for sentence in sentences)


def test_labels_that_contradict_each_other_and_texts_that_are_cut(tmp_path: Path, toy_model: Path) -> None:
    train = [*toy_rows(20, seed=1), ("the film", "pos"), ("the film", "neg"), (" ".join(["film"] * 60), "pos")]
    found = plan(tmp_path, toy_model, train=train)
    assert (
        "2 rows (8.7%) have the texts of another row and a different label" in findings(found, "warning")["data.train"]
    )
    assert "are longer than 32 tokens" in findings(found, "note")["data.max_length"]
    assert "has 62)" in findings(found, "note")["data.max_length"]


def test_a_long_list_of_classes_is_shortened(tmp_path: Path, toy_model: Path) -> None:
    rows = [(f"text {index} {copy}", f"class{index:02}") for index in range(40) for copy in range(2)]
    shown = check(tmp_path, toy_model, train=rows, dev=rows[::2]).stdout
    assert "... 28 more" in shown
    assert "class00" in shown
    assert "class20" not in shown


def test_the_corpus_of_a_vocabulary_is_read(tmp_path: Path, toy_model: Path) -> None:
    found = plan(tmp_path, toy_model, ("vocabulary.size=50",))
    assert "the corpus has 220 texts, fewer than 1,000" in findings(found, "warning")["vocabulary.corpus"]
    (tmp_path / "odd.tsv").write_text("words\nthe film\n")
    corpus = ("vocabulary.size=50", f'vocabulary.corpus=["{tmp_path / "odd.tsv"}"]')
    done = check(tmp_path, toy_model, corpus)
    assert (done.exit_code, 'no column "sentence"' in done.stderr) == (2, True)


def test_a_folder_in_hub_form_is_read_without_torch(tmp_path: Path, toy_model: Path) -> None:
    recipe = write_project(tmp_path, toy_model)
    (tmp_path / "hub").mkdir()
    for name, rows in (("train", toy_rows(40, seed=1)), ("validation", [("the film", "odd")])):
        lines = "".join(f"{json.dumps(text)},{label}\n" for text, label in rows)
        (tmp_path / "hub" / f"{name}.csv").write_text(f"sentence,label\n{lines}")
    recipe.write_text(
        recipe.read_text().replace(
            'train = "train.tsv"\ndev = "dev.tsv"', 'dataset = "hub"\ntrain = "train"\ndev = "validation"'
        )
    )
    code = (
        "import sys; from sdp.cli.main import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as end: print('code:', end.code)\n"
        "print('loaded:', sorted({'torch', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "check", "toy.toml"],
        cwd=tmp_path,
        env=ONE_THREAD,
        capture_output=True,
        text=True,
        check=True,
    )
    assert 'the label "odd" does not occur in training' in done.stderr
    assert done.stdout.splitlines()[-2:] == ["code: 2", "loaded: []"]
