"""`sdp init`: make a recipe for a file of labelled texts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sdp.cli.errors import handle_errors
from sdp.recipe.benchmark_tasks import ProblemType


class Kind(StrEnum):
    """The problem types, as values of an option."""

    CLASSIFICATION = "classification"
    MULTI_LABEL = "multi-label"
    REGRESSION = "regression"
    TAGGING = "tagging"
    RANKING = "ranking"
    EMBEDDING = "embedding"
    QUESTION_ANSWERING = "question-answering"


def init_command(
    data: Annotated[Path, typer.Argument(help="A file of labelled rows: csv, tsv, jsonl or parquet, also .gz.")],
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text", metavar="COLUMN", help="The column of texts; twice for pairs, and for question and context."
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="COLUMN", help="The column of classes, labels, numbers, tags or answers."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option("--group", metavar="COLUMN", help="Ranking: the column whose equal values form a list."),
    ] = None,
    kind: Annotated[
        Kind | None, typer.Option("--type", help="The problem type; by default derived from the labels.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="A hub id, a folder or package:NAME/FOLDER; by default a small model.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="The output folder; by default the file's folder."),
    ] = None,
    dev: Annotated[Path | None, typer.Option("--dev", metavar="FILE", help="An existing file of dev rows.")] = None,
    test: Annotated[Path | None, typer.Option("--test", metavar="FILE", help="An existing file of test rows.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files of an earlier call.")] = False,
) -> None:
    """Divide a file of labelled texts into train, dev and test, and write a recipe with settings that fit them.

    Rows with equal texts stay together, each class is divided 70 : 10 : 20, and nothing is overwritten. Without --text
    and --label the columns are listed.
    """
    with handle_errors():
        from sdp.init.project import Request, init_project

        chosen: ProblemType | None = kind.value if kind is not None else None
        made = init_project(Request(data, tuple(text or ()), label, group, chosen, model, out, dev, test, force))
        for line in made.lines:
            typer.echo(line)
        typer.echo(f"recipe: {made.recipe}")
        typer.echo(f"next: sdp check {made.recipe}, then sdp run {made.recipe}")
