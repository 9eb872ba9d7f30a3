"""TOML text that nobody vouches for: read whole or refused, within bounds that no recipe comes near."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from sdp_onnx.model.files import check_regular

# A recipe has a kilobyte, and tables within tables within tables.
MOST_BYTES = 10**6
MOST_LEVELS = 16
# The parser takes memory with the square of a dotted key's parts.
MOST_DOTS = 2000


class TomlTextError(ValueError):
    """The text is TOML that no recipe can be."""


def read_text(path: Path) -> str:
    """The text of a file, without a byte order mark.

    Raises:
        TomlTextError: it is longer than any recipe, or its name holds a NUL.
        UnicodeDecodeError: it is not UTF-8.
        OSError: it cannot be read, or is a device or a pipe.
    """
    if "\0" in str(path):
        raise TomlTextError("a file name holds the character NUL")
    check_regular(path)
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise TomlTextError(f"longer than {MOST_BYTES:,} bytes; no recipe is")
    return content.decode("utf-8-sig")


def parse(text: str) -> dict[str, Any]:
    """The table that a TOML text stands for.

    Raises:
        ValueError: it is not TOML, nested deeper than a recipe is, or its texts or keys hold a NUL, which no name of a
            file or label has.
    """
    if any(line.count(".") > MOST_DOTS for line in text.splitlines()):
        raise TomlTextError(
            f"a line holds more than {MOST_DOTS:,} dots; no key needs them, and a list may take several lines"
        )
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise TomlTextError("tables or arrays nested too deeply") from None
    _check(table)
    return table


def real_path(path: Path) -> Path:
    """The file behind links; links that lead in a circle stay, for whoever opens them to fail."""
    return Path(os.path.realpath(path))


def _check(table: dict[str, Any]) -> None:
    """Level by level, so that depth costs no recursion."""
    level: list[object] = [table]
    for _ in range(MOST_LEVELS):
        inner: list[object] = []
        for value in level:
            if isinstance(value, dict):
                inner += [*value.keys(), *value.values()]
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, str) and "\0" in value:
                raise TomlTextError(f"the text {value[:40]!r} holds the character NUL")
        if not inner:
            return
        level = inner
    raise TomlTextError("tables or arrays nested too deeply")
