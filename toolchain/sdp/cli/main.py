"""The command line: every command, in the order in which `sdp --help` tells them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import sdp
from sdp.cli.commands.check import check_command, schema_command
from sdp.cli.commands.compare import compare_command
from sdp.cli.commands.gate import gate_command
from sdp.cli.commands.init import init_command
from sdp.cli.commands.inspect import inspect_command
from sdp.cli.commands.predict import predict_command
from sdp.cli.commands.shipped import push_command, verify_command
from sdp.cli.commands.stages import run_command, stage_command
from sdp.cli.commands.study import study_command
from sdp.cli.commands.sweep import sweep_command
from sdp.cli.errors import told

app = typer.Typer(
    name="sdp",
    help="Prune a Transformer encoder against its unpruned self, and ship it as ONNX that is measured and gated.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sdp {sdp.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options without a command; the help text is the application's."""


app.command("init")(init_command)
app.command("run")(run_command)
app.command(
    "ship",
    help="""Make the folder that goes out, 8-ship, after bringing everything before it up to date, if the gate passes.

    Exit code: 0 it is made, 1 the gate or a stage fails, 2 wrong usage or recipe, 3 inconclusive.
    """,
)(run_command)
for stage, text in (
    ("vocabulary", "Trim the vocabulary as its section of the recipe says, and tell what the kept pieces cover."),
    (
        "preflight",
        "Go through all stages in seconds, with few rows and layers: what would fail after hours fails here.",
    ),
    ("finetune", "Fine-tune the pretrained encoder densely: the baseline and the teacher."),
    ("prune", "Prune by self-distillation, after bringing fine-tuning up to date."),
    ("evaluate", "Compare dense and pruned model on the evaluation split, after bringing both up to date."),
    ("export", "Export sparse ONNX and verify it against torch, after bringing what comes before up to date."),
    ("bench", "Measure the exported file against the dense one, after bringing what comes before up to date."),
    ("report", "Write report.html, after bringing everything before it up to date."),
):
    app.command(stage, help=text)(stage_command(stage))
app.command("gate")(gate_command)
app.command("check")(check_command)
app.command("study")(study_command)
app.command("sweep")(sweep_command)
app.command("compare")(compare_command)
app.command("schema")(schema_command)
app.command("predict")(predict_command)
app.command("verify")(verify_command)
app.command("push")(push_command)
app.command("inspect")(inspect_command)


def main() -> None:
    """Entry point of the `sdp` command."""
    try:
        # Also while commands are put together, before one of them begins.
        with told():
            app()
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        sys.stderr.close()
        sys.exit(0)
