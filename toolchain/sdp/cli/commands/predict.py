"""`sdp predict`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdp.cli.commands.selection import Json
from sdp.cli.errors import handle_errors
from sdp.cli.terminal import json_text
from sdp.errors import RunError, UsageError

if TYPE_CHECKING:
    from sdp_onnx.deploy.predictor import Answer, Predictor, Tagged


def predict_command(
    run: Annotated[Path, typer.Argument(help="A run folder with a finished export, or an exported folder.")],
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Texts: each is one input; for a task with two columns, each two consecutive texts are one input. - "
            "reads lines of stdin, with tabs between the columns.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Read the texts from a file: tsv, csv, jsonl, parquet; also .gz.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help="A text column of the file; by default the recipe's columns. May be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print label and probability, one line for each input, from the exported file alone.

    For regression and ranking the line has the score. For multi-label it has the labels with a probability of a half
    and more, and their probabilities, with "|" between them. For embedding it has the vector. For question answering it
    has the answer and its probability, "-" without one. For tagging there is a
    line with word, tag and probability for each word, and an empty line between sentences. --json prints one JSON
    object (for tagging a list) per line.
    """
    with handle_errors():
        from sdp_onnx.deploy.predictor import Predictor

        given = [bool(texts), file is not None]
        if sum(given) != 1 or (column and file is None):
            hint = 'Give texts ("..." "..."), - for the lines of stdin, or --file FILE with --column NAME.'
            raise UsageError("predict needs one source of texts", hint=hint)
        predictor = Predictor(exported_folder(run))
        for block in answer_blocks(predictor, rows_of(predictor, texts or [], file, column or []), as_json=as_json):
            typer.echo(block, nl=False)
            sys.stdout.flush()


def exported_folder(path: Path) -> Path:
    """The folder that holds model.onnx: `path` itself, or 4-export in a run folder.

    Raises:
        RunError: neither holds one.
    """
    from sdp.pipeline.stages import EXPORT

    for candidate in (path, path / EXPORT.folder):
        if (candidate / "model.onnx").is_file():
            return candidate
    hint = "Give a run folder whose export is done (sdp export RUN), or a copy of its 4-export."
    raise RunError("no exported model here (model.onnx)", where=str(path), hint=hint)


def rows_of(
    predictor: Predictor, texts: list[str], file: Path | None, columns: list[str]
) -> Iterable[list[tuple[str, ...]]]:
    """Yield the inputs of the command line in chunks."""
    from sdp.cli.predict_inputs import STDIN, argument_rows, file_rows, stream_rows

    if file is not None:
        return file_rows(predictor, file, columns)
    return stream_rows(predictor, sys.stdin.buffer) if texts == [STDIN] else [argument_rows(predictor, texts)]


def answer_blocks(predictor: Predictor, inputs: Iterable[list[tuple[str, ...]]], *, as_json: bool) -> Iterator[str]:
    """Yield the predictions for each chunk of inputs, as lines in the order of the inputs."""
    begun = False
    for rows in inputs:
        lines: list[str] = []
        if predictor.type == "tagging":
            for tagged in predictor.tags(rows):
                if begun and not as_json:
                    lines.append("")
                begun = True
                lines += [json_text(tagged_records(tagged))] if as_json else tagged_lines(tagged)
        else:
            for answer in predictor.answers(rows):
                lines.append(json_text(asdict(answer)) if as_json else answer_line(answer))
        yield "".join(f"{line}\n" for line in lines)


def answer_line(answer: Answer) -> str:
    """Return label or answer and probability separated by a tab, the score, or the vector; "-" without any label."""
    if answer.score is not None:
        return f"{answer.score:.4f}"
    if answer.answer is not None:
        return f"{one_field(answer.answer) or '-'}\t{answer.probability:.4f}"
    if answer.vector is not None:
        return " ".join(f"{value:.6f}" for value in answer.vector)
    if answer.labels is not None:
        shares = "|".join(f"{answer.probabilities[name]:.4f}" for name in answer.labels)
        return f"{'|'.join(map(one_field, answer.labels)) or '-'}\t{shares or '-'}"
    return f"{one_field(answer.label or '')}\t{answer.probability:.4f}"


def tagged_records(tagged: Tagged) -> list[dict[str, Any]]:
    """Return a sentence's tags as JSON: one record a word, with the word alone where there is no prediction."""
    return [{"word": word, **(asdict(answer) if answer else {})} for word, answer in tagged]


def tagged_lines(tagged: Tagged) -> list[str]:
    """Return a sentence's tags as lines of word, tag and probability; "-" where there is no prediction."""
    return [
        f"{word}\t{one_field(answer.label or '')}\t{answer.probability:.4f}" if answer else f"{word}\t-\t-"
        for word, answer in tagged
    ]


def one_field(label: str) -> str:
    """Return a label as one field of a line, without tabs and line ends."""
    return " ".join(label.split()) or label
