"""The command line itself: its version, its help, and completion in shells."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sdp.cli.main import app
from support.toy import ONE_THREAD

REPOSITORY = Path(__file__).parents[3]


def test_version() -> None:
    done = CliRunner().invoke(app, ["--version"])
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (done.exit_code, done.output) == (0, f"sdp {project['version']}\n")


def test_help_names_what_sdp_does_and_its_options() -> None:
    for arguments in (["--help"], []):
        shown = CliRunner().invoke(app, arguments).output
        assert "Prune a Transformer encoder" in shown
        assert "--version" in shown
        assert "--install-completion" in shown


def test_help_keeps_the_names_of_sections() -> None:
    """Square brackets are markup of rich, which would drop them."""
    shown = CliRunner().invoke(app, ["vocabulary", "--help"], env={"COLUMNS": "200"}).output
    assert "as [vocabulary] in the recipe sets it" in shown


@pytest.mark.parametrize(
    ("typed", "offered"), [("sdp insp", "inspect"), ("sdp run --run", "--run-dir"), ("sdp study --ba", "--baseline")]
)
def test_bash_completes(typed: str, offered: str) -> None:
    """As the function that `sdp --install-completion` puts into the shell asks; without torch."""
    words = typed.split()
    code = "import sys; from sdp.cli.main import main\ntry: main()\nfinally: assert 'torch' not in sys.modules"
    env = {**ONE_THREAD, "_SDP_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    command = [sys.executable, "-c", f"import sys; sys.argv = ['sdp']\n{code}"]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    assert offered in done.stdout.split(), done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_script_for_a_shell_is_printed() -> None:
    env = {**ONE_THREAD, "_SDP_COMPLETE": "source_bash"}
    command = [sys.executable, "-c", "import sys; sys.argv = ['sdp']\nfrom sdp.cli.main import main; main()"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert "complete -o default -F _sdp_completion sdp" in done.stdout
