"""toolchain/docs/GUIDE.md: its recipe, its commands and its Python are followed as they stand."""

from __future__ import annotations

import ast
import contextlib
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas
import pytest
import typer
from typer.testing import CliRunner

from sdp.cli.main import app
from support.toy import toy_rows

GUIDE = (Path(__file__).parents[1] / "toolchain" / "docs" / "GUIDE.md").read_text(encoding="utf-8")


def block(language: str, mark: str = "") -> str:
    (found,) = re.findall(rf"{mark}```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    return str(found)


def commands() -> list[list[str]]:
    """The lines of the guide's shell blocks that call sdp, in order."""
    text = "".join(re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL))
    return [shlex.split(line) for line in text.splitlines() if line.startswith("sdp ")]


def invoke(command: list[str]) -> str:
    done = CliRunner().invoke(app, command[1:])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small CSV, after the guide's first two commands."""
    folder = tmp_path_factory.mktemp("my-tickets")
    pandas.DataFrame(toy_rows(200, seed=1), columns=["text", "label"]).to_csv(folder / "tickets.csv", index=False)
    init, check, *_ = commands()
    assert (init[:2], check[:2]) == (["sdp", "init"], ["sdp", "check"])
    with contextlib.chdir(folder):
        invoke(init)
        assert f"it runs in {folder}/runs/tickets" in invoke(check)
    return folder


def test_the_split_is_stratified_and_complete(project: Path) -> None:
    parts = {name: pandas.read_csv(project / f"tickets-{name}.csv") for name in ("train", "dev", "test")}
    assert [len(part) for part in parts.values()] == [140, 20, 40]
    assert all((part["label"] == "pos").mean() == 0.5 for part in parts.values())
    whole = pandas.concat(parts.values()).sort_values("text").reset_index(drop=True)
    before = pandas.read_csv(project / "tickets.csv").sort_values("text").reset_index(drop=True)
    assert whole.equals(before)


def test_the_recipe_shown_is_part_of_the_one_that_is_written(project: Path) -> None:
    shown = tomllib.loads(block("toml", "<!-- recipe -->\n"))
    written = tomllib.loads((project / "tickets.toml").read_text(encoding="utf-8"))
    # These two go by length and number of the rows, and the guide shows those of the practice data.
    del shown["data"]["max_length"], shown["gate"]["max_metric_drop"]
    for section, values in shown.items():
        found = written[section]
        assert values == (found if isinstance(values, list) else {key: found[key] for key in values}), section


@pytest.mark.slow
def test_every_command_runs_in_order_on_the_practice_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-c", block("python", "<!-- practise -->\n")], check=True)
    for command in commands():
        invoke(command)
    assert (tmp_path / "runs/tickets/8-ship/README.md").is_file()


def test_the_python_to_practise_with_is_python() -> None:
    tree = ast.parse(block("python", "<!-- practise -->\n"))
    names = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    # What it writes is what the next step reads.
    assert {"tickets.csv", "text", "label"} <= names


def test_every_command_and_option_is_there() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    inline = [shlex.split(line) for line in re.findall(r"`(sdp\s[^`]+)`", GUIDE)]
    named = [*commands(), *inline]
    assert len(named) > 6
    for _, name, *arguments in named:
        known = {option for parameter in group.commands[name].params for option in parameter.opts}
        assert {argument for argument in arguments if argument.startswith("--")} <= known, name
