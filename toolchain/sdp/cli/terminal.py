"""Output to a terminal or log that does not take every character: escapes for those that it lacks, never a failure."""

from __future__ import annotations

import codecs
import io
import json
import sys

_HANDLER = "sdp-escape"


def escape_what_is_lacking() -> None:
    """Let stdout and stderr write \\u20ac for a character that their encoding lacks, in ASCII or Latin-1 say.

    Escapes lose nothing, and are those of JSON: what `--json` prints stays valid.
    """
    codecs.register_error(_HANDLER, _escaped)
    for stream in (sys.stdout, sys.stderr):
        # Tests and notebooks put other things there, which take all characters.
        if isinstance(stream, io.TextIOWrapper) and stream.errors != _HANDLER:
            stream.reconfigure(errors=_HANDLER)


def json_text(content: object, indent: int | None = None) -> str:
    """JSON for stdout: in plain characters where that is UTF-8, which JSON has to be, and in ASCII elsewhere."""
    return json.dumps(content, indent=indent, ensure_ascii=not (sys.stdout.encoding or "").lower().startswith("utf"))


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    # Surrogates too: half a character, as names of files have that are not UTF-8, or one beyond the first 65,536.
    text = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    units = (int.from_bytes(text[place : place + 2]) for place in range(0, len(text), 2))
    return "".join(f"\\u{unit:04x}" for unit in units), error.end
