"""What messages ask the user to type exists: commands, their options, recipe keys with their values, and packages."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import typer.main
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from sdp.cli.main import app
from sdp.recipe.load import _inner_section
from sdp.recipe.override import parse_override
from sdp.recipe.sections import Recipe

ROOT = Path(__file__).parents[1]
GROUP = typer.main.get_command(app)
COMMANDS = GROUP.commands
# Options of other programs that messages name: torchrun, pip, docker, ray, hf, nvidia-smi.
FOREIGN = {"--nproc-per-node", "--force-reinstall", "--no-deps", "--gpus", "--head", "--local-dir", "--query-gpu"}
FOREIGN.add("--format")
# No key, but a file: vocabulary.json.
FILES = re.compile(r"\.(json|jsonl|onnx|safetensors|html|data|lock|py|toml)$")


def messages() -> Iterator[tuple[str, str]]:
    """Every text in the code that is no docstring, with its place; what an f-string fills in is "…"."""
    for root in ("toolchain", "export/sdp_onnx"):
        for path in sorted((ROOT / root).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            inner = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
            for node in ast.walk(tree):
                if id(node) in silent | inner:
                    continue
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value
                elif isinstance(node, ast.JoinedStr):
                    parts = (value.value if isinstance(value, ast.Constant) else "…" for value in node.values)
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", "".join(map(str, parts))


MESSAGES = list(messages())


def options(command: str) -> set[str]:
    return {name for option in COMMANDS[command].params for name in (*option.opts, *option.secondary_opts)} | {"--help"}


ALL_OPTIONS = set().union(*map(options, COMMANDS), *(option.opts for option in GROUP.params)) | FOREIGN


def field(key: str) -> FieldInfo | None:
    """A key of the recipe by its dotted name; None where there is none."""
    model, found = Recipe, None
    for name in key.split("."):
        if model is None or name not in model.model_fields:
            return None
        found, model = model.model_fields[name], _inner_section(model, name)
    return found


def test_commands_exist_and_have_the_options_that_are_named_with_them() -> None:
    wrong, seen = [], set()
    for place, text in MESSAGES:
        for command, rest in re.findall(r"(?<![\w.-])sdp ([a-z]+)((?:(?!sdp )[^.,;:()`])*)", text):
            if command not in COMMANDS:
                # In a sentence it is no command: sdp prunes encoders.
                wrong += [f"{place}: sdp {command}"] if re.match(r" --| [A-Z]{3,}\b", rest) else []
                continue
            seen.add(command)
            unknown = set(re.findall(r"--[a-z-]+", rest)) - options(command)
            wrong += [f"{place}: sdp {command} {option}" for option in unknown]
    assert wrong == []
    assert {"run", "bench", "compare", "ship"} <= seen, "the pattern finds what is there"


def test_options_exist() -> None:
    named = [(place, option) for place, text in MESSAGES for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)]
    assert [found for found in named if found[1] not in ALL_OPTIONS] == []
    assert len(named) > 20


def test_recipe_keys_exist_and_take_the_values_that_are_named_with_them() -> None:
    sections = "|".join(name for name in Recipe.model_fields if _inner_section(Recipe, name))
    key = rf"(?<![\w./{{-])((?:{sections})(?:\.[a-z_]+)+)(?![a-z_(])"
    wrong, seen = [], 0
    for place, text in MESSAGES:
        for name in re.findall(key, text):
            seen += 1
            if not FILES.search(name) and field(name) is None:
                wrong.append(f"{place}: {name}")
        for name, value in re.findall(rf'{key} ?= ?("[^"…]*"|[\d.]*\d|true|false)', text):
            found = field(name)
            try:
                TypeAdapter(found.annotation if found else None).validate_python(parse_override(f"{name}={value}")[1])
            except ValueError as error:
                wrong.append(f"{place}: {name} = {value}: {error}")
    assert wrong == []
    assert seen > 50


def test_packages_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(name for extra in extras.values() for name in extra)]
    known = {"sdp", *(re.split(r"[\[><=;]", name)[0] for name in wanted)}
    named = [found for _, text in MESSAGES for found in re.findall(r"pip install '?([\w-]+)(?:\[([\w,]+)\])?", text)]
    assert {name for name, _ in named} <= known
    assert {extra for name, extra in named if name == "sdp"} <= set(extras)
    assert len(named) >= 3
