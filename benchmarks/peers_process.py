"""The parent's end of peers_worker.py: start it, ask it, end it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_WORKER = Path(__file__).with_name("peers_worker.py")
_STDERR_TAIL = 2000


class WorkerError(Exception):
    """The process ended instead of answering; the message is the end of what it said."""


class PeerProcess:
    """A process with one engine, in the environment of `python`; ended with the block that uses it."""

    def __init__(self, python: Path) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed in __exit__
        self._process = subprocess.Popen(
            [str(python), str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            encoding="utf-8",
            # The scheduler then gives it the processor time of one session whatever else the parent's session runs.
            start_new_session=True,
            env=os.environ | {"NM_DISABLE_ANALYTICS": "True"},
        )

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            WorkerError: there will be none.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the worker was started without pipes")
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
            raise WorkerError(f"ended with status {status}: {tail or 'it said nothing'}")
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
