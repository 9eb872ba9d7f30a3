"""`sdp inspect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sdp.cli.commands.selection import Json
from sdp.cli.errors import handle_errors


def inspect_command(
    model: Annotated[Path, typer.Argument(help="An ONNX file, a folder with one, or a run folder.")],
    as_json: Json = False,
) -> None:
    """Show the content of an ONNX file: operators, sizes, sparsity and encoding of each tensor.

    In a run folder this is the shipped file, or else the exported one; its name is printed.
    """
    with handle_errors():
        from sdp.cli.render.model import print_model
        from sdp.shipping.folder import model_file
        from sdp_onnx.model.inspect import inspect_model

        file, remark = model_file(model)
        summary = inspect_model(file)
        if as_json:
            typer.echo(json.dumps({"file": str(file), **summary.to_json()}, indent=2))
        else:
            print_model(file, summary, remark)
