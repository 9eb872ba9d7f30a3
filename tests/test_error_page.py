"""toolchain/docs/ERRORS.md quotes messages that the code really has."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from sdp.gate.check import EXIT_CODES
from sdp_onnx.errors import FailedError, UsageError

REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "toolchain" / "docs" / "ERRORS.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^\| `(.+?)` \|", PAGE, re.MULTILINE)
SOURCES = [*REPOSITORY.glob("toolchain/sdp/**/*.py"), *REPOSITORY.glob("export/sdp_onnx/**/*.py")]


@pytest.fixture(scope="module")
def messages() -> list[str]:
    """Every text in the code, with … for what is put into it."""
    found = []
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_some_are_quoted() -> None:
    assert len(QUOTED) > 15


@pytest.mark.parametrize("quoted", QUOTED)
def test_a_quoted_message_is_one_of_the_code(quoted: str, messages: list[str]) -> None:
    assert any(quoted in message for message in messages)


def test_exit_codes_are_those_of_the_code() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert listed == {*EXIT_CODES.values(), FailedError.exit_code, UsageError.exit_code, 129, 130, 143}
