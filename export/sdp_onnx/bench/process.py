"""The parent's end of a benchmark: a process that answers JSON with JSON, and the worker that holds a model.

The worker's own end is `sdp_onnx.bench.worker`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sdp_onnx.errors import BenchmarkError
from sdp_onnx.runtimes.base import Provider, RuntimeName
from sdp_onnx.runtimes.registry import DEFAULT

_STDERR_TAIL = 2000


class ProcessEndedError(Exception):
    """The process ended instead of answering; the message is its status and the end of its stderr."""


class JsonProcess:
    """A process that answers each line of JSON on its stdin with one on its stdout; ended with its block.

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
            raise ProcessEndedError(f"ended with status {status}: {tail or 'its stderr is empty'}")
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


class Worker:
    """A process with one model, which runs it on request; it ends with the block that uses it."""

    def __init__(
        self,
        model: Path,
        inputs: Path,
        *,
        provider: Provider,
        threads: int,
        profile: Path | None = None,
        runtime: RuntimeName = DEFAULT,
    ) -> None:
        self._model = model
        self._process = JsonProcess([sys.executable, "-m", "sdp_onnx.bench.worker"])
        self._setup = {
            "model": str(model),
            "inputs": str(inputs),
            "runtime": runtime,
            "provider": provider,
            "threads": threads,
            "profile": None if profile is None else str(profile),
        }

    def load(self) -> None:
        """Create the session.

        Raises:
            BenchmarkError: the process ended; also for `turn`, `end_profile` and `finish`.
        """
        self._ask(self._setup)

    def turn(self, case: int, first: int, runs: int) -> list[float]:
        """Run `runs` batches of a case from number `first` on; return the seconds of each."""
        seconds: list[float] = self._ask({"turn": case, "first": first, "runs": runs})["seconds"]
        return seconds

    def end_profile(self) -> Path:
        """Complete the profile of a worker that was started with one; return its path. Later turns are not in it."""
        return Path(self._ask({"profile": True})["profile"])

    def finish(self) -> tuple[int | None, list[float]]:
        """Return the peak memory in bytes (None where unknown), and the seconds of several session creations."""
        answer = self._ask({"finish": True})
        return answer["peak_memory_bytes"], answer["load_seconds"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.__exit__(kind, error, traceback)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._process.ask(request)
        except ProcessEndedError as error:
            raise BenchmarkError(
                f"the process that ran the model {error}",
                where=str(self._model),
                hint="A negative status is a signal; -9 is often the system's answer to too little memory.",
            ) from error
