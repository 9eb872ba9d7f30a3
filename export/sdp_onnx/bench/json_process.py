"""A process that answers each line of JSON with a line of JSON: start it, send requests, end it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

_STDERR_TAIL = 2000


class ProcessEndedError(Exception):
    """The process ended instead of answering; the message has its status and the end of its output."""


class JsonProcess:
    """Ended with the block that uses it.

    It gets its own session, so that a Ctrl-C in the terminal reaches only the parent, which then ends it, and so that
    the scheduler gives it the processor time of one session, independent of the parent's session.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed in __exit__
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            encoding="utf-8",
            start_new_session=True,
            env=env,
        )

    @property
    def pid(self) -> int:
        """The system's number of the process."""
        return self._process.pid

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            ProcessEndedError: there will be none.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the process was started without pipes")
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            # Blocks in a read: a parent that polled would take a core from the process it times.
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status = self._process.wait()
            self._stderr.seek(0)
            tail = self._stderr.read().decode(errors="replace")[-_STDERR_TAIL:].strip()
            raise ProcessEndedError(f"ended with status {status}: {tail or 'no output'}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._stderr.close()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                # What could not be written to a dead process is of no interest any more.
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
