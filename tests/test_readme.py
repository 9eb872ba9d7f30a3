"""The README says what is there: its commands, its test command, its recipe."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from sdp.cli.main import app
from sdp.recipe import load_recipe

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_every_command_is_told() -> None:
    commands = set(typer.main.get_command(app).commands)
    table = README.split("## Commands")[1].split("## ")[0]
    assert commands == set(re.findall(r"`(?:sdp )?([a-z]+)(?: [A-Z\"][^`]*)?`", table))


def test_ci_runs_the_test_command_as_it_stands() -> None:
    (command,) = [block.strip() for block in blocks("sh") if "pytest" in block]
    script = (REPOSITORY / ".ci" / "run").read_text().replace('exec sh -c "$command"', "true")
    done = subprocess.run(
        ["sh", "-c", script, str(REPOSITORY / ".ci" / "run")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"+ {command}"


def test_the_recipe_of_the_readme_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = blocks("toml")
    assert tomllib.loads(text)["name"] == "my-tickets"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-tickets.toml").write_text(text)
    assert load_recipe(tmp_path / "my-tickets.toml").task.score == "macro-f1"


def test_the_study_is_planned_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = [block.replace("\\\n", " ") for block in blocks("sh") if block.startswith("sdp study")]
    monkeypatch.chdir(REPOSITORY)
    done = CliRunner().invoke(app, [*shlex.split(command)[1:], "--dry-run", "--json"])
    assert done.exit_code == 0, done.output
    # Three arms of losses, two sparsities, three seeds.
    assert len(json.loads(done.stdout)["cells"]) == 3 * 2 * 3


def test_the_sweep_is_planned_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = [block for block in blocks("sh") if block.startswith("sdp sweep")]
    monkeypatch.chdir(REPOSITORY)
    done = CliRunner().invoke(app, [*shlex.split(command)[1:], "--dry-run"])
    assert done.exit_code == 0, done.output
    assert all(level in done.output for level in ("0.50", "0.70", "0.80", "0.90", "0.95"))


def test_the_first_command_runs_the_quickstart() -> None:
    first = blocks("sh")[0]
    assert '".[quickstart]"' in first
    assert "sdp run recipes/quickstart.toml" in first
    load_recipe(REPOSITORY / "recipes" / "quickstart.toml")
