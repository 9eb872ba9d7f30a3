"""Parse untrusted TOML: read completely or rejected, with limits far above any real recipe."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from sdp_onnx.model.files import check_regular

# A recipe has about a kilobyte, and three levels of tables.
MOST_BYTES = 10**6
MOST_LEVELS = 16
# The parser's memory grows with the square of the parts of a dotted key.
MOST_DOTS = 2000


class TomlTextError(ValueError):
    """The TOML text exceeds the limits of a recipe."""


def read_text(path: Path) -> str:
    """Read the text of a file, without a byte order mark.

    Raises:
        TomlTextError: it is longer than the limit, or its name holds a NUL.
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
    """Parse TOML text.

    Raises:
        ValueError: it is not TOML, is nested too deeply, or its texts or keys hold a NUL, which no name of a file or
            label has.
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
    """Resolve symbolic links; circular links stay, so that opening them fails."""
    return Path(os.path.realpath(path))


def _check(table: dict[str, Any]) -> None:
    """Check depth and texts level by level, without recursion."""
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
