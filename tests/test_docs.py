"""The documents: their links lead somewhere, their commands exist and run, their words are plain."""

from __future__ import annotations

import ast
import json
import re
import shlex
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from sdp.cli.main import app
from sdp.pruning.criteria import CRITERIA
from sdp.recipe.losses import LOSSES
from support.documents import PAGES, REPOSITORY, anchors, blocks, links, page_name, prose, read

# Software prints, reports, returns, stores. It does not speak, and documents do not either.
SPEECH = re.compile(
    r"\b(told|tells?|telling|says?|said|saying|speaks?|mend(s|ed|ing)?)\b|\bwhat is there\b|\b(is|are) that of\b", re.I
)


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_links_lead_to_files_and_headings(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for link in links(text):
        if link.startswith(("https://", "http://")):
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        assert file.is_relative_to(REPOSITORY), link
        assert file.exists(), link
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_files_of_the_repository_that_are_named_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"\b((?:benchmarks|tests|export|toolchain|recipes)/[\w/]+\.(?:py|md|toml|yml))\b", text):
        assert "NAME" in name or (REPOSITORY / name).is_file(), name


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_software_does_not_speak(path: Path) -> None:
    lines = prose(path.read_text(encoding="utf-8")).splitlines()
    assert [f"{number}: {line}" for number, line in enumerate(lines, 1) if SPEECH.search(line)] == []


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_a_page_has_one_title(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert len(re.findall(r"^# ", prose(text), re.MULTILINE)) == 1


def test_every_page_of_the_docs_is_reached_from_the_readme() -> None:
    reached, waiting = set(), [REPOSITORY / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        targets = [link.partition("#")[0] for link in links(page.read_text(encoding="utf-8")) if ":" not in link]
        waiting += [(page.parent / target).resolve() for target in targets]
    assert {page for page in PAGES if page.parent.name == "docs"} <= reached


def test_every_command_is_in_the_guide() -> None:
    commands = set(typer.main.get_command(app).commands)
    table = read("GUIDE.md").split("## Commands")[1].split("\n## ")[0]
    assert commands == set(re.findall(r"`(?:sdp )?([a-z]+)(?: [A-Z\"][^`]*)?`", table))


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_commands_have_the_options_that_are_shown(path: Path) -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    text = path.read_text(encoding="utf-8")
    shown = [line for block in blocks(text, "sh") for line in block.replace("\\\n", " ").splitlines()]
    # Of a message that is quoted, the first word is no command.
    quoted = re.findall(r"`(sdp ([a-z]+)[^`]*)`", text)
    shown += [line for line, command in quoted if command in group.commands]
    for line in shown:
        found = re.search(r"(?:^|/|-m )sdp ([a-z]+)( .*)?$", line.partition(" #")[0])
        if found is None:
            continue
        command = group.commands[found[1]]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        options = {part.partition("=")[0] for part in shlex.split(found[2] or "") if part.startswith("--")}
        assert options <= known | {"--help"}, line


def test_the_study_is_planned_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = [block.replace("\\\n", " ") for block in blocks(read("CONCEPTS.md"), "sh")]
    (command,) = [command for command in commands if command.startswith("sdp study")]
    monkeypatch.chdir(REPOSITORY)
    done = CliRunner().invoke(app, [*shlex.split(command)[1:], "--dry-run", "--json"])
    assert done.exit_code == 0, done.output
    # Three arms of losses, two sparsities, three seeds.
    assert len(json.loads(done.stdout)["cells"]) == 3 * 2 * 3


def test_the_sweep_is_planned_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = [block for block in blocks(read("CONCEPTS.md"), "sh") if block.startswith("sdp sweep")]
    monkeypatch.chdir(REPOSITORY)
    done = CliRunner().invoke(app, [*shlex.split(command)[1:], "--dry-run"])
    assert done.exit_code == 0, done.output
    assert all(level in done.output for level in ("0.50", "0.70", "0.80", "0.90", "0.95"))


def test_the_tuning_is_planned_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = [block for block in blocks(read("CONCEPTS.md"), "sh") if block.startswith("sdp tune")]
    monkeypatch.chdir(REPOSITORY)
    done = CliRunner().invoke(app, [*shlex.split(command)[1:], "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "int8-1x4-0.80" in done.output


def test_concepts_list_every_loss_and_criterion() -> None:
    losses, criteria = (
        set(re.findall(r"`([\w-]+)`", "".join(re.findall(r"^\| (`.*?) \|", part, re.MULTILINE))))
        for part in re.split(r"^### Which.*|^## (?:Losses|Criteria|Patterns)$", read("CONCEPTS.md"), flags=re.M)[1:4:2]
    )
    assert losses == set(LOSSES)
    assert criteria == set(CRITERIA)


def test_python_in_the_docs_is_python() -> None:
    for page in PAGES:
        for block in blocks(page.read_text(encoding="utf-8"), "python"):
            ast.parse(block)


def test_imports_moved_to_modules_that_exist() -> None:
    moved = dict(re.findall(r"^\| `(sdp[\w.]*)` \| `(sdp[\w.]*)` \|$", read("CHANGELOG.md"), re.MULTILINE))
    assert len(moved) > 40
    assert [name for name in moved.values() if find_spec(name) is None] == []


def test_the_layout_lists_every_folder() -> None:
    (layout,) = re.findall(r"^## Layout\n\n```\n(.*?)^```", read("ARCHITECTURE.md"), re.MULTILINE | re.DOTALL)
    for package in ("toolchain/sdp", "export/sdp_onnx"):
        part = re.findall(rf"^{package}/.*\n((?:    .*\n)+)", layout, re.MULTILINE)[0]
        listed = {name for line in part.splitlines() for name in re.findall(r"(\w+)/", line[:19])}
        folders = {path.parent.name for path in (REPOSITORY / package).glob("*/__init__.py")}
        assert listed == folders, package


def test_every_question_has_an_answer() -> None:
    table = read("index.md").partition("## Questions and where they are answered")[2]
    rows = re.findall(r"^\| (.*\?) \| (.*) \|$", table, re.MULTILINE)
    assert len(rows) >= 10
    assert all(links(answer) for _, answer in rows)


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_commands_of_benchmarks_exist_with_their_options(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for program, rest in re.findall(r"python (benchmarks/[\w/]+\.py)([^`\n#]*)", text):
        command = typer.main.get_command(import_module(Path(program).stem).app)
        words = shlex.split(rest)
        if isinstance(command, typer.core.TyperGroup):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= known, program
