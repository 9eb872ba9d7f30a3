"""benchmarks/studies/questions.py: questions on a docstring, and files that the task reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import questions
from sdp.data.load import load_task_data
from sdp.recipe.load import load_recipe

DOCSTRING = """Add two numbers.

Parameters
----------
a : int, optional
    The first one. It may be
    anything.
b :  array-like
    The second one
    of both

Returns
-------
c : int
    The sum.
"""


def test_a_docstring_answers_questions_on_its_parameters() -> None:
    rows = list(questions.questions(DOCSTRING, "axis"))
    found = {row["question"]: row["answers"]["text"] for row in rows if row["name"] != "axis"}
    assert found == {
        "What type is a?": ["int, optional"],
        "What is a?": ["The first one"],
        "What type is b?": ["array-like"],
        "What is b?": ["The second one\n    of both"],
    }
    for row in rows:
        for text, start in zip(*row["answers"].values(), strict=True):
            assert DOCSTRING[start : start + len(text)] == text
    assert not list(questions.questions("Add two numbers.", "axis"))


def test_the_files_are_read_by_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = questions.rows_by_split(("pyarrow", "seqeval", "matplotlib"))
    monkeypatch.setattr(questions, "rows_by_split", lambda: found)
    app = questions.typer.Typer()
    app.command()(questions.main)
    done = CliRunner().invoke(app, [str(tmp_path), "--train", "400"])
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert len(rows) == 400
    assert any(not row["answers"]["text"] for row in rows)
    # No context is in two splits.
    contexts = [{row["context"] for row in own} for own in found.values()]
    assert not contexts[0] & contexts[2]
    places = [f'data.{split}="{tmp_path / split}.jsonl"' for split in ("train", "dev", "test")]
    recipe = load_recipe(Path(questions.__file__).parent / "recipes" / "questions.toml", places)
    data = load_task_data(recipe)
    assert recipe.task.score == "answer-f1"
    assert data.train.answers is not None
    assert data.train.answers.optional
