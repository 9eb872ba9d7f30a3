"""`sdp inspect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sdp.cli.commands.options import Json
from sdp.cli.errors import told


def inspect_command(
    model: Annotated[Path, typer.Argument(help="An ONNX file, a folder with one, or a run folder.")],
    as_json: Json = False,
) -> None:
    """Show what is in an ONNX file: operators, sizes, sparsity and encoding of each tensor.

    Of a run folder it is the shipped file, or else the exported one; its name is printed.
    """
    with told():
        from sdp.cli.render.model import print_model
        from sdp.shipping.find import model_file
        from sdp_onnx.model.inspect import inspect_model

        file, remark = model_file(model)
        summary = inspect_model(file)
        if as_json:
            typer.echo(json.dumps({"file": str(file), **summary.to_json()}, indent=2))
        else:
            print_model(file, summary, remark)
