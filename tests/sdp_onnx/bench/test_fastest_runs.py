"""Files in turns: the same batches, and of each the fastest run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from sdp_onnx.bench import fastest_runs as module
from sdp_onnx.bench.cases import Case
from sdp_onnx.bench.fastest_runs import FEWEST_ROUNDS, fastest_runs


class Worker:
    """A worker whose runs take what a list has, by turn and batch."""

    order: ClassVar[list[str]] = []

    def __init__(self, file: Path, inputs: Path, *, provider: str, threads: int) -> None:
        assert (provider, threads) == ("cpu", 2)
        assert inputs.is_file()
        self._name, self._turns = file.name, 0

    def load(self) -> None:
        pass

    def turn(self, case: int, first: int, runs: int) -> list[float]:
        assert (case, first, runs) == (0, 0, 3)
        self.order.append(self._name)
        self._turns += 1
        noise = 5.0 if self._turns % 2 else 0.0
        return [noise + batch * (2.0 if self._name == "a" else 1.0) for batch in (1, 2, 9)]

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: Any) -> None:
        pass


def test_of_each_batch_the_fastest_run_counts_and_of_these_the_median(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Worker", Worker)
    case = Case("three batches", 1, None, [{}, {}, {}])
    assert fastest_runs([Path("a"), Path("b")], case, threads=2, seconds=0.0) == [4.0, 2.0]
    assert Worker.order == ["a", "b"] * FEWEST_ROUNDS
