"""`sdp predict`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sdp.command_errors import told
from sdp.commands.options import Json


def predict_command(
    run: Annotated[Path, typer.Argument(help="A run folder whose export is done, or an exported folder.")],
    texts: Annotated[
        list[str], typer.Argument(help="The text, one for each text column of the task; for tagging a sentence.")
    ],
    as_json: Json = False,
) -> None:
    """Answer with label and probability, from the exported file alone; a tagger answers with a line for each word."""
    with told():
        from sdp.predict import Predictor, exported_folder

        predictor = Predictor(exported_folder(run))
        if predictor.type == "tagging":
            print_tags(predictor.words([word for text in texts for word in text.split()]), as_json=as_json)
            return
        answer = predictor(*texts)
        if as_json:
            typer.echo(json.dumps(asdict(answer), ensure_ascii=False))
        elif answer.score is not None:
            typer.echo(f"{answer.score:.4f}")
        else:
            typer.echo(f"{answer.label} {answer.probability:.4f}")


def print_tags(said: list[tuple[str, Any]], *, as_json: bool) -> None:
    """Print a tagger's answers: word, tag and probability, one line a word; "-" where the model said nothing."""
    if as_json:
        records = [{"word": word, **(asdict(answer) if answer else {})} for word, answer in said]
        typer.echo(json.dumps(records, ensure_ascii=False))
        return
    for word, answer in said:
        typer.echo(f"{word}\t{answer.label}\t{answer.probability:.4f}" if answer else f"{word}\t-\t-")
