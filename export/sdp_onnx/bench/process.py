"""The parent's side of a benchmark worker: start it, run turns, end it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sdp_onnx.bench.json_process import JsonProcess, ProcessEndedError
from sdp_onnx.errors import BenchmarkError
from sdp_onnx.runtimes.session import Provider


class Worker:
    """A process with one model, which runs it on request; it ends with the block that uses it."""

    def __init__(
        self, model: Path, inputs: Path, *, provider: Provider, threads: int, profile: Path | None = None
    ) -> None:
        self._model = model
        self._process = JsonProcess([sys.executable, "-m", "sdp_onnx.bench.worker"])
        self._setup = {
            "model": str(model),
            "inputs": str(inputs),
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
