"""Output to a terminal or log with a limited encoding: other characters are escaped, and output never fails."""

from __future__ import annotations

import codecs
import io
import json
import sys

_HANDLER = "sdp-escape"


def escape_unencodable() -> None:
    """Make stdout and stderr write escapes such as \\u20ac for characters that their encoding lacks.

    They are JSON's escapes, so that the output of `--json` stays valid.
    """
    codecs.register_error(_HANDLER, _escaped)
    for stream in (sys.stdout, sys.stderr):
        # Tests and notebooks replace these streams with others, which accept all characters.
        if isinstance(stream, io.TextIOWrapper) and stream.errors != _HANDLER:
            stream.reconfigure(errors=_HANDLER)


def json_text(content: object, indent: int | None = None) -> str:
    """Format JSON for stdout: unescaped if its encoding is UTF-8, which JSON requires, and in ASCII otherwise."""
    return json.dumps(content, indent=indent, ensure_ascii=not (sys.stdout.encoding or "").lower().startswith("utf"))


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    # Surrogates too: lone ones, from file names that are not UTF-8, and pairs for characters beyond U+FFFF.
    text = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    units = (int.from_bytes(text[place : place + 2]) for place in range(0, len(text), 2))
    return "".join(f"\\u{unit:04x}" for unit in units), error.end
