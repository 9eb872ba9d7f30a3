"""What stages hand on has a type: how many signatures still hold a table of anything, folder by folder."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TOOLCHAIN = Path(__file__).parents[2] / "toolchain" / "sdp"
# The most signatures that may have one. Only lower these.
MOST = {
    "stages": 0,
    "gate": 0,
    "compare": 0,
    "report": 0,
    "study": 0,
    "sweep": 0,
    "tune": 0,
    "choice": 0,
    "cli/render": 0,
    # predict, and the owner of a run folder.
    "cli/commands": 2,
    # What an upload's JSON holds.
    "shipping": 1,
}
FOLDER = re.compile("[0-8]-(vocabulary|preflight|finetune|prune|evaluate|export|bench|gate|report|ship)(/.*)?")


def annotations(path: Path) -> Iterator[str]:
    """Types of arguments, results and fields."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            of = node.args
            arguments = [*of.posonlyargs, *of.args, *of.kwonlyargs, of.vararg, of.kwarg]
            yield from (ast.unparse(own.annotation) for own in arguments if own is not None and own.annotation)
            if node.returns is not None:
                yield ast.unparse(node.returns)
        elif isinstance(node, ast.ClassDef):
            yield from (ast.unparse(own.annotation) for own in node.body if isinstance(own, ast.AnnAssign))


@pytest.mark.parametrize("folder", MOST)
def test_few_signatures_hold_a_table_of_anything(folder: str) -> None:
    found = [
        f"{path.relative_to(TOOLCHAIN)}: {annotation}"
        for path in sorted((TOOLCHAIN / folder).rglob("*.py"))
        for annotation in annotations(path)
        if "[str, Any]" in annotation
    ]
    assert len(found) <= MOST[folder], found


def test_a_stages_folder_is_named_in_the_table_of_stages_alone() -> None:
    """Help and messages may name one; a path is made of the table."""
    found = {
        str(path.relative_to(TOOLCHAIN))
        for path in TOOLCHAIN.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and FOLDER.fullmatch(node.value)
    }
    assert found == {"pipeline/stages.py"}
