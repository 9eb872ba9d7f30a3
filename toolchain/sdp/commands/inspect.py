"""`sdp inspect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sdp.command_errors import told
from sdp.commands.options import Json


def inspect_command(
    model: Annotated[Path, typer.Argument(help="An ONNX file.")],
    as_json: Json = False,
) -> None:
    """Show what is in an ONNX file: operators, sizes, sparsity and encoding of each tensor."""
    with told():
        from sdp.inspect_table import print_model
        from sdp_onnx.inspect import inspect_model

        summary = inspect_model(model)
        if as_json:
            typer.echo(json.dumps(summary.to_json(), indent=2))
        else:
            print_model(model, summary)
