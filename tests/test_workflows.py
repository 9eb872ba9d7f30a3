"""The project's own workflows and pre-commit hooks: their commands are those of README and CONTRIBUTING."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.documents import README, REPOSITORY, blocks, read

FOLDER = REPOSITORY / ".github" / "workflows"
WORKFLOWS: dict[str, Any] = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yml"))
}
HOOKS = [
    hook
    for repository in yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    for hook in repository["hooks"]
]


def steps(workflow: str) -> list[dict[str, Any]]:
    return [step for job in WORKFLOWS[workflow]["jobs"].values() for step in job["steps"]]


def runs(workflow: str) -> set[str]:
    return {step["run"] for step in steps(workflow) if "run" in step}


def readme_commands() -> list[str]:
    """The commands of the README's test command, as in an active environment."""
    text = README.read_text(encoding="utf-8").partition("<!-- test command -->")[2]
    parts = blocks(text, "sh")[0].strip().split(" && ")
    return [part.replace(".venv/bin/", "") for part in parts if not part.startswith("python3 -m venv")]


def test_the_tests_run_the_test_command_of_the_readme() -> None:
    assert set(readme_commands()) <= runs("tests")


def test_contributing_shows_the_same_commands() -> None:
    shown = {
        line.replace(".venv/bin/", "") for block in blocks(read("CONTRIBUTING.md"), "sh") for line in block.splitlines()
    }
    every = runs("tests") | runs("nightly")
    loads = {step.get("run") for step in WORKFLOWS["tests"]["jobs"]["wheel"]["steps"]}
    assert every - loads - set(readme_commands()) <= shown
    assert {command for command in readme_commands() if not command.startswith("pip ")} <= shown


def test_hooks_are_commands_of_the_test_command_and_need_no_network() -> None:
    assert {hook["entry"] for hook in HOOKS} == {c for c in readme_commands() if re.match("ruff|mypy", c)}
    assert {hook["language"] for hook in HOOKS} == {"system"}


def test_every_platform_is_tested_and_built() -> None:
    jobs = WORKFLOWS["tests"]["jobs"]
    platforms = {"ubuntu-latest", "ubuntu-24.04-arm", "macos-latest", "windows-latest"}
    for job in ("tests", "wheel"):
        assert set(jobs[job]["strategy"]["matrix"]["os"]) == platforms
        assert jobs[job]["strategy"]["fail-fast"] is False


def test_slow_tests_run_at_night() -> None:
    # YAML 1.1 reads "on" as true.
    assert "schedule" in WORKFLOWS["nightly"][True]
    assert "python -m pytest -m slow" in runs("nightly")


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_workflows_have_no_rights_and_pinned_actions(workflow: str) -> None:
    assert WORKFLOWS[workflow]["permissions"] == {"contents": "read"}
    for step in steps(workflow):
        assert ("run" in step) != ("uses" in step)
        assert "uses" not in step or re.fullmatch(r"actions/[\w/-]+@v\d+", step["uses"])
    assert all("timeout-minutes" in job for job in WORKFLOWS[workflow]["jobs"].values())


def test_what_is_uploaded_is_what_the_steps_before_make() -> None:
    (site,) = [step for step in steps("tests") if step.get("with", {}).get("name") == "site"]
    assert Path(site["with"]["path"]) == Path("toolchain/site")
