"""A file before anything is known about it: its columns, with examples."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence
from pathlib import Path

from sdp.data.files import Columns, column_chunks, column_names
from sdp.errors import DataError, UsageError

_EXAMPLES = 3
_WIDTH = 60


def check_columns(data: Path, text: Sequence[str], label: str | None, group: str | None) -> None:
    """See that the columns are named, and that the file has them.

    Raises:
        UsageError: the text or the label column is not named; the message lists the columns with examples.
        DataError: the file cannot be read, or has no such column.
    """
    names = column_names(data)
    if not text or label is None:
        raise _which_columns(data, names)
    for option, name in (*(("--text", name) for name in text), ("--label", label), ("--group", group)):
        if name is not None and name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            meant = f'Did you mean {option} "{near[0]}"?' if near else f"Name one of them with {option}."
            raise DataError(f'no column "{name}"; the columns are {", ".join(names)}', where=str(data), hint=meant)
    given = [*text, label, *((group,) if group else ())]
    if len(set(given)) < len(given):
        raise UsageError(f"a column is named twice: {', '.join(given)}", where=str(data))


def _which_columns(data: Path, names: Sequence[str]) -> UsageError:
    """The question for the columns, with what is in them."""
    rows = next(iter(column_chunks(data, names)))
    lines = [f"{name}: {', '.join(_short(value) for value in rows[name][:_EXAMPLES])}" for name in names]
    listed = "\n".join(f"    {line}" for line in lines)
    text, label = _likely(rows, names)
    command = shlex.join([str(data), "--text", text, "--label", label])
    what = f"which column is the text, and which the label? The columns:\n{listed}"
    return UsageError(what, where=str(data), hint=f"Name them, for example: sdp init {command}")


def _likely(rows: Columns, names: Sequence[str]) -> tuple[str, str]:
    """The column with the longest values, and of the others that with the fewest different ones, from two on."""
    different = {name: len({str(value) for value in rows[name]}) for name in names}
    text = max(names, key=lambda name: sum(len(str(value)) for value in rows[name]))
    others = [name for name in names if name != text] or [text]
    return text, min(others, key=lambda name: (different[name] < 2, different[name]))


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _WIDTH else f"{shown[: _WIDTH - 3]}..."
