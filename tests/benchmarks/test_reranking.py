"""benchmarks/studies/reranking.py: queries with documents, and files that the task reads."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

import reranking
from sdp.data.load import load_task_data
from sdp.recipe.load import load_recipe

LONG = "Solve a linear system of equations. " + "The matrix must be square and of full rank. " * 4


def test_a_docstring_is_divided() -> None:
    query, document = reranking.divided(LONG) or ("", "")
    assert query == "Solve a linear system of equations."
    assert document.startswith("The matrix must be square")
    assert reranking.divided("Solve it. Now.") is None


def test_a_list_has_one_right_document_among_its_neighbours() -> None:
    pairs = [(f"query {place}", f"document {place}") for place in range(30)]
    rows = reranking.lists(pairs, 10)
    assert len(rows) == 10 * reranking.CANDIDATES
    for start in range(0, len(rows), reranking.CANDIDATES):
        own = rows[start : start + reranking.CANDIDATES]
        (query,) = {row[0] for row in own}
        assert sum(row[2] for row in own) == 1
        assert [row[1] for row in own if row[2]] == [query.replace("query", "document")]
        assert len({row[1] for row in own}) == reranking.CANDIDATES
    places = [next(i for i, row in enumerate(rows[start : start + 8]) if row[2]) for start in range(0, len(rows), 8)]
    assert len(set(places)) > 2, "the right one stands anywhere"


def test_the_files_are_read_by_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = reranking.pairs_by_split(("rich", "typer", "jinja2", "seqeval", "pyarrow"))
    monkeypatch.setattr(reranking, "pairs_by_split", lambda: found)
    app = reranking.typer.Typer()
    app.command()(reranking.main)
    done = CliRunner().invoke(app, [str(tmp_path), "--train", "20"])
    assert done.exit_code == 0, done.output
    with (tmp_path / "train.tsv").open(encoding="utf-8", newline="") as stream:
        assert len(list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))) == 160
    places = [f'data.{split}="{tmp_path / split}.tsv"' for split in ("train", "dev")]
    recipe = load_recipe(Path(reranking.__file__).parent / "recipes" / "reranking.toml", places)
    data = load_task_data(recipe)
    assert recipe.task.score == "ndcg"
    assert data.dev.groups is not None
