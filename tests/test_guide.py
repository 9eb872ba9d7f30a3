"""recipes/GUIDE.md: its recipe, its commands and its Python stand as they are told."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
import typer
from typer.testing import CliRunner

from sdp.cli import app
from toy import toy_rows

GUIDE = (Path(__file__).parents[1] / "recipes" / "GUIDE.md").read_text(encoding="utf-8")


def block(language: str, mark: str = "") -> str:
    (found,) = re.findall(rf"{mark}```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after steps 2 and 3, with a small CSV."""
    folder = tmp_path_factory.mktemp("my-tickets")
    pandas.DataFrame(toy_rows(100, seed=1), columns=["text", "label"]).to_csv(folder / "tickets.csv", index=False)
    subprocess.run([sys.executable, "-c", block("python", "<!-- split -->\n")], cwd=folder, check=True)
    (folder / "my-tickets.toml").write_text(block("toml"))
    return folder


def test_the_split_is_stratified_and_complete(project: Path) -> None:
    parts = {name: pandas.read_csv(project / f"{name}.csv") for name in ("train", "dev", "test")}
    assert [len(part) for part in parts.values()] == [70, 10, 20]
    assert all((part["label"] == "pos").mean() == 0.5 for part in parts.values())
    whole = pandas.concat(parts.values()).sort_values("text").reset_index(drop=True)
    before = pandas.read_csv(project / "tickets.csv").sort_values("text").reset_index(drop=True)
    assert whole.equals(before)


def test_the_recipe_is_checked_as_it_stands(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    done = CliRunner().invoke(app, ["check", "my-tickets.toml"])
    assert done.exit_code == 0, done.output
    assert f"it runs in {project}/runs/my-tickets" in done.output


def test_the_python_to_practise_with_is_python() -> None:
    tree = ast.parse(block("python", "<!-- practise -->\n"))
    names = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    # What it writes is what the next step reads.
    assert {"tickets.csv", "text", "label"} <= names


def test_every_command_and_option_is_there() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    lines = [
        line
        for text in re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
        for line in text.splitlines()
    ]
    lines += re.findall(r"`(sdp\s[^`]+)`", GUIDE)
    commands = [shlex.split(line) for line in lines if line.startswith("sdp")]
    assert len(commands) > 6
    for _, name, *arguments in commands:
        known = {option for parameter in group.commands[name].params for option in parameter.opts}
        assert {argument for argument in arguments if argument.startswith("--")} <= known, name
