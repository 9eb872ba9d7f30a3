"""The words of the code are plain: software prints, reports and returns; it does not tell or say."""

from __future__ import annotations

import io
import keyword
import re
import tokenize
from pathlib import Path

import pytest

from support.documents import REPOSITORY
from test_docs import SPEECH

SOURCES = sorted(path for folder in ("toolchain/sdp", "export") for path in (REPOSITORY / folder).rglob("*.py"))
# From Python 3.12 on, an f-string is several tokens.
TEXTS = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
# A method of Python's files.
FOREIGN = {"tell"}


def spoken(text: str) -> list[str]:
    """The lines of a Python file with such words in names, comments or strings; names are split at underscores."""
    found = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            words = "" if token.string in FOREIGN or keyword.iskeyword(token.string) else token.string.replace("_", " ")
        elif token.type in TEXTS:
            words = token.string
        else:
            continue
        found += [
            f"{token.start[0] + i}: {line.strip()}" for i, line in enumerate(words.split("\n")) if SPEECH.search(line)
        ]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_code_does_not_speak(path: Path) -> None:
    assert spoken(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    ["said = 1", "def is_told_as(): ...", '"""What it says."""', "x = f'{y} told'", "# mended"],
)
def test_names_comments_and_strings_are_read(text: str) -> None:
    assert spoken(text) != []


def test_other_words_and_methods_of_files_pass() -> None:
    assert spoken('file.tell()\nassay = "essay, retold"\n') == []
    assert re.search(SPEECH, "tell") is not None
