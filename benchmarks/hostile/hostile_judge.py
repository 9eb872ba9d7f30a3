"""What a hostile input may lead to: an answer that holds, or one of sdp's own errors; everything else is a finding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdp_onnx.errors import SdpError

# More than any of these small inputs may need.
MOST_SECONDS = 20.0
MOST_BYTES = 10**9
# Set while an input is given to the real command line.
REAL_PROCESS = "SDP_HOSTILE_PROCESS"
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class QuietError(Exception):
    """A hostile input was taken, and the answer is wrong."""


@dataclass(frozen=True)
class Outcome:
    """What came of one input.

    Attributes:
        status: accepted, refused or finding.
        detail: for a finding what went wrong and where, otherwise the error's first line.
        seconds: processor time that it took.
        bytes: by how much the process grew, at the peak.
    """

    status: str
    detail: str
    seconds: float
    bytes: int


def judge(use: Callable[[], object]) -> Outcome:
    """Use an input, and say what came of it."""
    before, started = _resident(), time.process_time()
    status, detail = "accepted", ""
    try:
        use()
    except SdpError as error:
        status, detail = "refused", str(error).splitlines()[0]
        if not error.what.strip():
            status, detail = "finding", "an error that says nothing"
    except Exception as error:
        status, detail = "finding", _message(error)
    seconds, grown = time.process_time() - started, max(0, _peak() - before)
    if status != "finding" and seconds > MOST_SECONDS:
        status, detail = "finding", f"took {seconds:.0f} s"
    if status != "finding" and grown > MOST_BYTES:
        status, detail = "finding", f"took {grown / 1e9:.1f} GB"
    return Outcome(status, detail[:300], round(seconds, 3), grown)


def command(*arguments: str | Path) -> tuple[int, str]:
    """Run the command line within this process, or where `REAL_PROCESS` is set in one of its own.

    Returns:
        the exit code and what it printed.

    Raises:
        Exception: whatever escapes from it.
        SdpError, QuietError: see `check_exit`.
    """
    words = [str(argument) for argument in arguments]
    if os.environ.get(REAL_PROCESS):
        given = [word.encode("utf-8", "surrogatepass") for word in words]
        line: list[str | bytes] = [sys.executable, "-m", "sdp", *given]
        ran = subprocess.run(line, capture_output=True, check=False, timeout=10 * MOST_SECONDS)
        out, err = ran.stdout.decode(errors="replace"), ran.stderr.decode(errors="replace")
        check_exit(ran.returncode, out, err)
        return ran.returncode, out
    from typer.testing import CliRunner

    from sdp.cli.main import app

    done = CliRunner().invoke(app, words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    check_exit(done.exit_code, done.stdout, done.stderr)
    return done.exit_code, done.stdout


def check_exit(code: int, stdout: str, stderr: str) -> None:
    """See that a command ended as it should: with a result, one error of sdp's, or a hint at its usage.

    Raises:
        SdpError: it refused its input, as it should.
        QuietError: it did not end as it should.
    """
    if code == 0 or (code in (1, 3) and stdout):
        return
    if code == 2 and stderr.startswith("Usage:"):
        raise SdpError(stderr.splitlines()[-1] or "usage")
    errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
    if code not in (1, 2) or len(errors) != 1 or "Traceback" in stderr:
        raise QuietError(f"exit code {code} and {len(errors)} messages: {stderr[-200:]!r}")
    raise SdpError(errors[0])


def strict_json(text: str) -> Any:
    """Read JSON that has no NaN or infinity in it.

    Raises:
        QuietError: it has.
    """

    def refuse(name: str) -> None:
        raise QuietError(f"{name} in the answer")

    return json.loads(text, parse_constant=refuse)


def _message(error: BaseException) -> str:
    """Kind, message, and the innermost place in sdp's own code."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/sdp" in frame.filename]
    ours = [frame for frame in frames if "site-packages" not in frame.filename]
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].name}" if ours else "outside"
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__} at {place}: {ascii(first)[1:-1]}"


def _resident() -> int:
    """Resident memory now; the peak is counted anew from here."""
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return _peak()
    return _kilobytes("VmRSS:")


def _peak() -> int:
    return _kilobytes("VmHWM:")


def _kilobytes(key: str) -> int:
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines() if _STATUS.exists() else ():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    return 0
