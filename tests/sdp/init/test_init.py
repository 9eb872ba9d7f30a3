"""`sdp init`: from a file to splits that do not overlap and a recipe that `sdp check` accepts."""

from __future__ import annotations

import csv
import gzip
import json
import math
import shlex
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from sdp.cli.main import app
from sdp.data.files import read_columns
from sdp.data.load import load_task_data
from sdp.init.files import write_rows
from sdp.init.rows import read_labelled
from sdp.init.settings import ENGLISH, MULTILINGUAL, epochs_for, largest_drop, model_for
from sdp.init.split import assign
from sdp.recipe import Recipe, load_recipe
from support.toy import toy_rows

ROWS = toy_rows(300, seed=1)


def run(*arguments: str | Path, code: int = 0) -> Result:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == code, f"{done.output}\n{done.exception!r}"
    return done


def init(file: Path, *options: str | Path, code: int = 0) -> Result:
    return run("init", file, "--text", "text", "--label", "label", *options, code=code)


def write_csv(folder: Path, rows: list[tuple[Any, ...]], columns: tuple[str, ...] = ("text", "label")) -> Path:
    file = folder / "tickets.csv"
    pd.DataFrame(rows, columns=list(columns)).to_csv(file, index=False)
    return file


def recipe(file: Path) -> Recipe:
    return load_recipe(file.with_name("tickets.toml"))


def splits(folder: Path, suffix: str = ".csv", label: str = "label") -> dict[str, dict[str, list[Any]]]:
    names = ("train", "dev", "test")
    return {name: read_columns(folder / f"tickets-{name}{suffix}", ["text", label]) for name in names}


def warnings(file: Path) -> list[dict[str, str]]:
    plan = json.loads(run("check", file.with_name("tickets.toml"), "--runs", file.parent / "runs", "--json").stdout)
    # This machine may have one core or no compiler.
    of_machine = ("bench.threads", "export")
    return [found for found in plan["findings"] if found["kind"] == "warning" and found["subject"] not in of_machine]


def test_a_file_becomes_splits_and_a_recipe_that_check_accepts(tmp_path: Path, toy_model: Path) -> None:
    file = write_csv(
        tmp_path, [(text, label, index) for index, (text, label) in enumerate(ROWS)], ("text", "label", "id")
    )
    before = file.read_bytes()
    output = init(file, "--model", toy_model).stdout
    found = splits(tmp_path)
    assert {name: len(own["text"]) for name, own in found.items()} == {"train": 210, "dev": 30, "test": 60}
    assert all(Counter(own["label"])["pos"] * 2 == len(own["label"]) for own in found.values())
    assert sorted(text for own in found.values() for text in own["text"]) == sorted(text for text, _ in ROWS)
    assert warnings(file) == []
    made = recipe(file)
    assert (made.task.problem_type, made.task.metric, made.data.max_length) == ("classification", "accuracy", 16)
    assert made.gate.max_metric_drop == largest_drop(60)
    assert made.gate.max_size_ratio is not None
    assert "metric: accuracy: no class has much more rows" in output
    assert f"next: sdp check {tmp_path / 'tickets.toml'}" in output
    assert file.read_bytes() == before


def test_nothing_is_overwritten_without_force(tmp_path: Path, toy_model: Path) -> None:
    file = write_csv(tmp_path, ROWS)
    init(file, "--model", toy_model)
    (tmp_path / "tickets.toml").write_text("mine")
    message = init(file, "--model", toy_model, code=2).stderr
    assert "tickets.toml, " in message
    assert (tmp_path / "tickets.toml").read_text() == "mine"
    # Both ways that the message names.
    init(file, "--model", toy_model, "--out", tmp_path / "new")
    assert load_recipe(tmp_path / "new/tickets.toml").data.train == str(tmp_path / "new/tickets-train.csv")
    init(file, "--model", toy_model, "--force")
    assert recipe(file).name == "tickets"


def test_rows_with_equal_texts_stay_together(tmp_path: Path, toy_model: Path) -> None:
    rows = [(f"text number {index % 40}", "pos" if index % 2 else "neg") for index in range(120)]
    file = write_csv(tmp_path, [*rows, ("TEXT  number 1", "pos")])
    init(file, "--model", toy_model)
    plan = json.loads(run("check", tmp_path / "tickets.toml", "--runs", tmp_path, "--json").stdout)
    for name in ("dev", "test"):
        assert all(overlap["rows"] == 0 for overlap in plan["data"][name]["also_in"].values())
        assert plan["data"][name]["rows"] > 0


def test_the_division_depends_on_the_seed_and_not_on_the_order() -> None:
    keys = [str(index).encode() for index in range(50)]
    strata = ["a" if index < 40 else "b" for index in range(50)]
    one, two = (assign(keys, strata, ["dev", "test"], seed) for seed in (0, 1))
    assert [Counter(side[:40])[n] for side in (one, two) for n in range(3)] == [28, 4, 8] * 2
    assert Counter(one[40:]) == {0: 7, 1: 1, 2: 2}
    assert one.tolist() != two.tolist()
    assert assign(keys[::-1], strata[::-1], ["dev", "test"], 0).tolist() == one[::-1].tolist()
    assert assign([b"1"], ["a"], ["dev", "test"], 0).tolist() == [0]
    assert sorted(assign([b"1", b"2"], ["a", "a"], ["dev", "test"], 0).tolist()) == [0, 2]


def test_without_columns_they_are_listed(tmp_path: Path) -> None:
    file = write_csv(tmp_path, [(n, text, label) for n, (text, label) in enumerate(ROWS)], ("id", "body", "queue"))
    message = run("init", file, code=2).stderr
    assert "which column is the text, and which the label" in message
    assert "queue: 'pos', 'neg', 'pos'" in message
    # The command that it proposes works.
    command = message.splitlines()[-1].partition("example: ")[2]
    assert command.endswith("--text body --label queue")
    run(*shlex.split(command)[1:])
    assert 'Did you mean --label "queue"?' in run("init", file, "--text", "body", "--label", "queu", code=2).stderr
    assert "named twice" in run("init", file, "--text", "body", "--label", "body", code=2).stderr


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([*ROWS, ("no label", None), ("nor this", None)], ["row 301", "2 of 302 rows have no label"]),
        ([(text, index) for index, (text, _) in enumerate(ROWS)], ["300 different values", "--type regression"]),
        ([(text, "same") for text, _ in ROWS], ["same label"]),
        ([("one text", "pos"), ("another", "neg")] * 20, ["40 rows with 2 different texts are too few"]),
        ([*((f"t{index}", "pos") for index in range(20)), ("u", "neg"), ("v", "neg")], ["only one class has 3"]),
    ],
)
def test_what_cannot_be_divided(rows: list[tuple[str, Any]], words: list[str], tmp_path: Path) -> None:
    message = init(write_csv(tmp_path, rows), code=2).stderr
    assert all(word in message for word in words), message
    assert [path.name for path in tmp_path.iterdir()] == ["tickets.csv"]


def test_a_class_with_too_few_rows_is_reported(tmp_path: Path, toy_model: Path) -> None:
    file = write_csv(tmp_path, [*ROWS, ("the only one", "rare")])
    output = init(file, "--model", toy_model).stdout
    assert 'too few texts to be in every split: "rare"' in output
    assert "rare" in splits(tmp_path)["train"]["label"]
    assert recipe(file).task.metric == "macro-f1"
    assert 'metric: macro-f1: "pos" has 150.0 times the rows of "rare"' in output.replace('"neg" has', '"pos" has')


def test_numbers_are_a_regression(tmp_path: Path, toy_model: Path) -> None:
    file = write_csv(tmp_path, [(text, index / 7) for index, (text, _) in enumerate(ROWS)])
    init(file, "--model", toy_model)
    assert (recipe(file).task.type, recipe(file).task.metric) == ("regression", "pearson")
    assert warnings(file) == []
    file = write_csv(tmp_path, [(text, index) for index, (text, _) in enumerate(ROWS)])
    init(file, "--model", toy_model, "--type", "regression", "--force")
    assert recipe(file).task.type == "regression"


def test_pairs_tags_and_lists(tmp_path: Path, toy_model: Path) -> None:
    pairs = write_csv(tmp_path, [(text, f"and {text}", label) for text, label in ROWS], ("a", "b", "label"))
    run("init", pairs, "--text", "a", "--text", "b", "--label", "label", "--model", toy_model)
    assert recipe(pairs).data.text == ("a", "b")
    assert warnings(pairs) == []
    lists = write_csv(
        tmp_path, [(f"query {n // 4}", text, n % 3) for n, (text, _) in enumerate(ROWS)], ("q", "text", "label")
    )
    init(lists, "--group", "q", "--model", toy_model, "--force")
    found = {name: set(read_columns(tmp_path / f"tickets-{name}.csv", ["q"])["q"]) for name in ("train", "dev", "test")}
    assert len(found["train"] & found["test"]) == len(found["train"] & found["dev"]) == 0
    assert recipe(lists).task.type == "ranking"
    tags = tmp_path / "tickets.jsonl"
    lines = ({"text": text.split(), "label": ["B-X", *["O"] * text.count(" ")]} for text, _ in ROWS)
    tags.write_text("".join(json.dumps(line) + "\n" for line in lines))
    init(tags, "--model", toy_model, "--force")
    assert (recipe(tags).task.type, recipe(tags).task.metric) == ("tagging", "entity-f1")
    assert warnings(tags) == []


def write_questions(file: Path) -> list[dict[str, Any]]:
    """60 contexts with three questions each, the first of them without an answer."""
    rows: list[dict[str, Any]] = []
    for context, (text, _) in enumerate(ROWS[:60]):
        for place, word in enumerate(text.split()[:3]):
            answers = (
                {"text": [word], "answer_start": [text.index(word)]} if place else {"text": [], "answer_start": []}
            )
            rows.append({"question": f"{word} {len(rows)}?", "context": f"{text} {context}", "answers": answers})
    if file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif file.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(file)
    else:
        table = pd.DataFrame([{**row, "answers": json.dumps(row["answers"])} for row in rows])
        kind = {"sep": "\t", "quoting": csv.QUOTE_NONE} if file.suffix == ".tsv" else {}
        table.to_csv(file, index=False, **kind)
    return rows


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl", ".parquet", ".csv"])
def test_questions(suffix: str, tmp_path: Path, toy_model: Path) -> None:
    file = tmp_path / f"tickets{suffix}"
    rows = write_questions(file)
    message = run("init", file, code=2).stderr
    command = message.splitlines()[-1].partition("example: ")[2]
    assert command.endswith("--text question --text context --label answers")
    output = run(*shlex.split(command)[1:], "--model", toy_model).stdout
    assert "task: question-answering: the labels are answers with their places" in output
    made = recipe(file)
    assert (made.task.type, made.task.metric, made.data.text) == (
        "question-answering",
        "answer-f1",
        ("question", "context"),
    )
    data = load_task_data(made)
    assert data.test is not None
    found = {split.name: split for split in (data.train, data.dev, data.test)}
    contexts = [{texts[1] for texts in split.texts} for split in found.values()]
    assert len(set.union(*contexts)) == sum(map(len, contexts)) == 60
    read = {
        texts[0]: (list(answers.of_rows[row]), list(answers.starts[row]))
        for split in found.values()
        for answers in [split.answers]
        if answers is not None
        for row, texts in enumerate(split.texts)
    }
    assert read == {row["question"]: (row["answers"]["text"], row["answers"]["answer_start"]) for row in rows}
    assert warnings(file) == []


def test_an_embedding(tmp_path: Path, toy_model: Path) -> None:
    model = tmp_path / "encoder"
    shutil.copytree(toy_model, model)
    rows = [(text, f"and {text}", index % 7 / 2) for index, (text, _) in enumerate(ROWS)]
    file = write_csv(tmp_path, rows, ("a", "b", "label"))
    options = ("--text", "a", "--text", "b", "--label", "label", "--type", "embedding", "--model", model)
    output = run("init", file, *options).stdout
    made = recipe(file)
    assert (made.task.type, made.task.metric, made.finetune.epochs) == ("embedding", "spearman", 0)
    # Each text by itself.
    longest = max(len(text.split()) for row in rows for text in row[:2]) + 2
    assert made.data.max_length == math.ceil(longest / 16) * 16
    assert "no sampled text is longer" in output
    assert "modules.json" in run("check", tmp_path / "tickets.toml", code=2).stderr
    (model / "modules.json").write_text(
        json.dumps([{"type": "x.Transformer", "path": ""}, {"type": "x.Pooling", "path": "p"}])
    )
    (model / "p").mkdir()
    (model / "p/config.json").write_text('{"pooling_mode": "mean"}')
    assert warnings(file) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--text", "a", "--type", "question-answering"), "reads questions and contexts"),
        (("--text", "a", "--text", "b", "--type", "tagging"), "tagging reads one column"),
        (("--text", "a", "--type", "embedding", "--group", "b"), "forms the lists of a ranking"),
    ],
)
def test_columns_that_do_not_fit_the_type(options: tuple[str, ...], words: str, tmp_path: Path) -> None:
    rows = [(text, f"and {text}", index % 7 / 2) for index, (text, _) in enumerate(ROWS)]
    file = write_csv(tmp_path, rows, ("a", "b", "label"))
    message = run("init", file, *options, "--label", "label", code=2).stderr
    assert words in message
    assert "tickets.csv" in message


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl", ".parquet", ".csv.gz"])
def test_every_format(suffix: str, tmp_path: Path, toy_model: Path) -> None:
    rows = [(f'{text}, "quoted" {index}', label) for index, (text, label) in enumerate(ROWS[:60])]
    file = tmp_path / f"tickets{suffix}"
    table = pd.DataFrame(rows, columns=["text", "label"])
    if suffix == ".tsv":
        file.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    elif suffix == ".jsonl":
        file.write_text(table.to_json(orient="records", lines=True))
    elif suffix == ".parquet":
        table.to_parquet(file)
    else:
        file.write_bytes(gzip.compress(table.to_csv(index=False).encode()))
    init(file, "--model", toy_model)
    found = splits(tmp_path, suffix)
    assert sorted(text for own in found.values() for text in own["text"]) == sorted(text for text, _ in rows)


def test_files_that_are_there_already(tmp_path: Path, toy_model: Path) -> None:
    file = write_csv(tmp_path, ROWS)
    (tmp_path / "other").mkdir()
    for name in ("dev", "test"):
        pd.DataFrame(toy_rows(40, seed=7), columns=["text", "label"]).to_csv(
            tmp_path / f"other/{name}.csv", index=False
        )
    given = ("--dev", tmp_path / "other/dev.csv", "--test", tmp_path / "other/test.csv")
    init(file, "--model", toy_model, *given)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "tickets.csv", "tickets.toml"]
    assert recipe(file).data.train == str(file)
    init(file, "--model", toy_model, "--test", tmp_path / "other/test.csv", "--force")
    assert (tmp_path / "tickets-dev.csv").is_file()
    assert not (tmp_path / "tickets-test.csv").exists()
    # What does not fit is refused, and leaves nothing.
    (tmp_path / "other/test.csv").write_text("text,label\nthe film,odd\n")
    message = init(file, "--model", toy_model, *given, "--out", tmp_path / "new", code=2).stderr
    assert 'the label "odd" does not occur' in message
    assert list((tmp_path / "new").iterdir()) == []


def test_the_model_goes_by_the_letters_and_is_not_downloaded(tmp_path: Path) -> None:
    assert model_for([("plain English text",)])[0].endswith(("MiniLM-L6-v2", "minilm_l6_v2/model"))
    assert model_for([("plain text",), ("Größe, Füße und Öl",)])[0] == MULTILINGUAL
    file = write_csv(tmp_path, ROWS)
    output = init(file, "--model", ENGLISH).stdout
    assert f"model: {ENGLISH}: as asked for; sdp run downloads it" in output
    assert recipe(file).finetune.learning_rate == 1e-4


@pytest.mark.parametrize(("rows", "drop"), [(10**6, 0.05), (720, 0.08), (60, 0.2), (2, 0.5)])
def test_a_threshold_that_the_rows_can_decide(rows: int, drop: float) -> None:
    assert largest_drop(rows) == pytest.approx(drop)


def test_small_data_gets_more_epochs() -> None:
    assert [epochs_for(steps, 300, 15) for steps in (1000, 75, 3)] == [3, 4, 15]


def test_labels_and_lists_are_what_the_tasks_readers_take_them_for(tmp_path: Path) -> None:
    nan = write_csv(tmp_path, [(f"text {index}", ("nan", "None")[index % 2]) for index in range(8)])
    assert read_labelled(nan, ["text"], "label", None, None).counts == {"nan": 4, "None": 4}
    lists = write_csv(tmp_path, [("['New York', 'is']", "['B-X', 'O']"), ("['a', 'b']", "['O', 'O']")])
    rows = read_labelled(lists, ["text"], "label", None, None)
    assert (rows.type, rows.raw.texts[0], rows.raw.labels[0]) == ("tagging", ("New York", "is"), ("B-X", "O"))
    for name in ("out.csv", "out.tsv"):
        write_rows(tmp_path / name, ("text", "label"), zip(rows.raw.texts, rows.raw.labels, strict=True))
        again = read_labelled(tmp_path / name, ["text"], "label", None, "tagging")
        assert (list(again.raw.texts), again.raw.labels) == (list(rows.raw.texts), rows.raw.labels)
