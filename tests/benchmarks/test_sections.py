"""benchmarks/studies/sections.py: docstrings in both forms, and files that the task reads."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sections
from sdp.recipe.load import load_recipe

NUMPY = """Add two numbers.

More on it: really.

Parameters
----------
a : int

Returns
-------
int

See Also
--------
subtract
"""
GOOGLE = """Add two numbers.

Args:
    a: one.

Raises:
    ValueError: never.
"""


@pytest.mark.parametrize(
    ("docstring", "text", "labels"),
    [
        (NUMPY, "Add two numbers. More on it: really.", ("parameters", "returns", "see also")),
        (GOOGLE, "Add two numbers.", ("parameters", "raises")),
        ("Note that Parameters: are no section.", "Note that Parameters: are no section.", ()),
    ],
)
def test_a_docstring_is_divided(docstring: str, text: str, labels: tuple[str, ...]) -> None:
    assert sections.divided(docstring) == (text, labels)


def test_the_files_are_read_by_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = sections.rows_by_split(("rich", "typer", "jinja2"))
    monkeypatch.setattr(sections, "rows_by_split", lambda: found)
    app = sections.typer.Typer()
    app.command()(sections.main)
    done = CliRunner().invoke(app, [str(tmp_path), "--train", "40"])
    assert done.exit_code == 0, done.output
    with (tmp_path / "train.tsv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert len(rows) == 40
    assert any("|" in row["labels"] for row in rows)
    # No text is in two splits.
    assert not found["train"].keys() & found["test"].keys()
    places = [f'data.{split}="{tmp_path / split}.tsv"' for split in ("train", "dev", "test")]
    recipe = load_recipe(Path(sections.__file__).parent / "recipes" / "sections.toml", places)
    assert recipe.task.score == "micro-f1"
