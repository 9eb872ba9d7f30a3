"""The README: short, with commands that run, a recipe that is valid, and the numbers of the full tables."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from sdp.recipe import load_recipe

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_it_is_short() -> None:
    assert len(README.split()) <= 1000


def test_the_table_of_results_is_part_of_the_full_one() -> None:
    full = (REPOSITORY / "toolchain/docs/PERFORMANCE.md").read_text(encoding="utf-8")
    for line in re.findall(r"^\| \d+ \| .*$", README, re.MULTILINE):
        tokens, *times = [cell.strip() for cell in line.strip("|").split("|")]
        (row,) = re.findall(rf"^\| {tokens} \| (.*) \|$", full, re.MULTILINE)
        assert set(times) <= {cell.strip() for cell in row.split("|")}


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


def test_the_commands_do_not_depend_on_the_pip_of_the_system() -> None:
    """Debian 12 has pip 23.0.1, which builds seqeval by its setup.py, and fails."""
    commands = [block for block in blocks("sh") if "m venv" in block]
    assert len(commands) == 2
    assert all("-m venv --upgrade-deps .venv" in command for command in commands)


def test_the_first_command_runs_the_quickstart() -> None:
    first = blocks("sh")[0]
    assert '".[quickstart]"' in first
    assert "sdp run recipes/quickstart.toml" in first
    load_recipe(REPOSITORY / "recipes" / "quickstart.toml")
