"""`sdp verify` and `sdp push`, the commands on a shipped folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sdp.cli.commands.selection import Json
from sdp.cli.errors import handle_errors


def verify_command(
    folder: Annotated[Path, typer.Argument(help="A shipped folder (8-ship, or a copy of it), or a run folder.")],
    as_json: Json = False,
) -> None:
    """Check a shipped folder: every file against the manifest, then the golden inputs in onnxruntime. Needs no torch.

    Exit code: 0 unchanged, 1 changed or damaged, 2 wrong usage.
    """
    with handle_errors():
        from sdp.cli.render.shipped import report_lines
        from sdp.shipping.folder import shipped_folder
        from sdp_onnx.deploy.verify_folder import verify_folder

        report = verify_folder(shipped_folder(folder))
        typer.echo(json.dumps(report.to_json(), indent=2) if as_json else "\n".join(report_lines(report)))
        if not report.ok:
            raise typer.Exit(1)


def push_command(
    folder: Annotated[Path, typer.Argument(help="A shipped folder, or a run folder.")],
    repository: Annotated[str, typer.Argument(metavar="REPO_ID", help="The hub's repository: OWNER/NAME.")],
    revision: Annotated[str, typer.Option(help="The branch for the commit.")] = "main",
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Upload. Without it, print the planned upload.")] = False,
    as_json: Json = False,
) -> None:
    """Verify a shipped folder, and upload it to the Hugging Face Hub in one commit.

    The token comes from `hf auth login` or HF_TOKEN. Exit code: 0 uploaded or planned, 1 the folder does not verify or
    the hub rejects it, 2 wrong usage.
    """
    with handle_errors():
        from sdp.cli.render.shipped import push_lines
        from sdp.shipping.folder import require_current, shipped_folder
        from sdp.shipping.push import push

        require_current(folder)
        made = push(shipped_folder(folder), repository, revision=revision, private=not public, dry_run=not yes)
        typer.echo(json.dumps(made.to_json(), indent=2) if as_json else "\n".join(push_lines(made)))
