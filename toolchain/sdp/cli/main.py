"""The command line: every command, in the order of `sdp --help`."""

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
from sdp.cli.commands.shrink import shrink_command
from sdp.cli.commands.stages import run_command, stage_command
from sdp.cli.commands.study import study_command
from sdp.cli.commands.sweep import sweep_command
from sdp.cli.commands.tune import tune_command
from sdp.cli.errors import handle_errors

app = typer.Typer(
    name="sdp",
    help="Prune a Transformer encoder against its unpruned self, and ship it as ONNX that is measured and gated.",
    no_args_is_help=True,
    rich_markup_mode="markdown",  # Of rich, [vocabulary] would be markup and vanish.
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
    """Options of `sdp` itself; the help text is the application's."""


app.command("init")(init_command)
app.command("run")(run_command)
app.command(
    "ship",
    help="""Bring earlier stages up to date, and if the gate passes make the folder to ship, 8-ship.

    Exit code: 0 shipped, 1 the gate or a stage fails, 2 wrong usage or recipe, 3 inconclusive.
    """,
)(run_command)
for stage, text in (
    ("vocabulary", "Trim the vocabulary as [vocabulary] in the recipe sets it, and print what the kept pieces cover."),
    (
        "preflight",
        "Run all stages in seconds with few rows and layers, to find errors that would occur after hours.",
    ),
    ("finetune", "Fine-tune the pretrained encoder densely: the baseline and the teacher."),
    ("prune", "Prune by self-distillation, after bringing fine-tuning up to date."),
    ("evaluate", "Compare dense and pruned model on the evaluation split, after bringing both up to date."),
    ("export", "Export sparse ONNX and verify it against torch, after bringing earlier stages up to date."),
    ("bench", "Measure the exported file against the dense one, after bringing earlier stages up to date."),
    ("report", "Write report.html, after bringing earlier stages up to date."),
):
    app.command(stage, help=text)(stage_command(stage))
app.command("gate")(gate_command)
app.command("check")(check_command)
app.command("study")(study_command)
app.command("sweep")(sweep_command)
app.command("tune")(tune_command)
app.command("compare")(compare_command)
app.command("schema")(schema_command)
app.command("predict")(predict_command)
app.command("verify")(verify_command)
app.command("push")(push_command)
app.command("inspect")(inspect_command)
app.command("shrink")(shrink_command)


def main() -> None:
    """Entry point of the `sdp` command."""
    try:
        # Covers the construction of commands too, before one of them begins.
        with handle_errors():
            app(prog_name="sdp")
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except BrokenPipeError:
        # The reader (head, less) closed the pipe.
        sys.stderr.close()
        sys.exit(0)
