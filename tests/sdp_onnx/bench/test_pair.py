"""The whole benchmark on tiny files; nothing here depends on how fast the machine is."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from sdp_onnx.bench import pair as bench
from sdp_onnx.bench import worker
from sdp_onnx.bench.cases import Case, load_batches, save_batches
from sdp_onnx.bench.pair import benchmark_pair
from sdp_onnx.bench.process import Worker
from sdp_onnx.bench.statistics import Start
from sdp_onnx.bench.worker import run_turn
from sdp_onnx.errors import BenchmarkError, ModelFileError, SdpError
from sdp_onnx.export.encode import encode_model


@pytest.fixture
def cases(make_batch: Callable[..., Any], input_names: dict[str, Any]) -> list[Case]:
    names = input_names["bert"]
    own = [make_batch(names, 2, tokens) for tokens in (3, 11, 40)]
    return [Case("8 tokens", 1, 8, [make_batch(names, 1, 8)]), Case("own lengths", 2, None, own)]


@pytest.fixture
def inputs(cases: list[Case], tmp_path: Path) -> Path:
    save_batches(tmp_path / "inputs.npz", cases)
    return tmp_path / "inputs.npz"


def test_batches_survive_the_journey(cases: list[Case], inputs: Path) -> None:
    for case, batches in zip(cases, load_batches(inputs), strict=True):
        assert len(case.batches) == len(batches)
        for sent, received in zip(case.batches, batches, strict=True):
            assert sent.keys() == received.keys()
            for name, array in sent.items():
                np.testing.assert_array_equal(received[name], array)
                assert received[name].dtype == np.int64


def test_a_benchmark_from_end_to_end(bert_file: Path, tmp_path: Path, cases: list[Case]) -> None:
    candidate = tmp_path / "candidate.onnx"
    encode_model(bert_file, candidate, encoding="auto", metadata={})
    output: list[tuple[str, float]] = []
    result = benchmark_pair(
        bert_file,
        candidate,
        cases,
        threads=[1, 2],
        seconds_per_case=0.1,
        min_rounds=3,
        on_progress=lambda label, share: output.append((label, share)),
    )
    assert [(case.case, case.threads) for case in result.cases] == [
        (case.name, threads) for threads in (1, 2) for case in cases
    ]
    for case in result.cases:
        assert case.rounds >= 3
        assert case.baseline.runs == 2 * case.rounds * case.runs_per_turn == 2 * case.candidate.runs
        assert case.baseline.p50_ms <= case.baseline.p90_ms <= case.baseline.p99_ms
        assert case.speedup.low <= case.speedup.value <= case.speedup.high
    assert result.baseline_bytes == bert_file.stat().st_size > result.candidate_bytes
    assert [process.role for process in result.processes] == ["baseline", "baseline again", "candidate"] * 2
    assert all(process.load_ms > 0 for process in result.processes)
    assert [share for _, share in output] == [0.0, 0.25, 0.5, 0.75, 1.0]
    content = json.loads(json.dumps(result.to_json()))
    assert content["environment"]["logical_cores"] == os.cpu_count()
    assert content["cases"][1]["sequence_length"] is None


def test_every_start_has_new_processes_and_the_orders_go_on(
    bert_file: Path, cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    (file := bert_file.with_name("dense.onnx")).write_bytes(bert_file.read_bytes())
    monkeypatch.setattr(bench, "Worker", FakeWorker)
    monkeypatch.setattr(FakeWorker, "turns", [])
    monkeypatch.setattr(FakeWorker, "started", [])
    output: list[float] = []
    result = benchmark_pair(
        file,
        file,
        cases,
        threads=[1, 2],
        seconds_per_case=0,
        min_rounds=6,
        starts=3,
        on_progress=lambda _, share: output.append(share),
    )
    assert len(FakeWorker.started) == 3 * 2 * 3
    assert [(process.role, process.threads) for process in result.processes] == 3 * [
        (role, threads) for threads in (1, 2) for role in bench.ROLES
    ]
    assert [(case.rounds, [start.rounds for start in case.starts]) for case in result.cases] == 4 * [(6, [2, 2, 2])]
    assert output == pytest.approx([step / 12 for step in range(13)])
    # Rounds of the first case with one thread: each order once, over the three starts.
    own = [turn for turn in FakeWorker.turns if turn[0] % 6 < 3 and turn[2] == 1]
    orders = {tuple(number % 6 for number, _, _ in own[place : place + 3]) for place in range(0, len(own), 3)}
    assert len(orders) == 6


def test_a_file_against_itself_is_as_fast_as_itself(bert_file: Path, cases: list[Case]) -> None:
    result = benchmark_pair(bert_file, bert_file, cases[:1], threads=[1], seconds_per_case=1.0)
    (case,) = result.cases
    # Wide enough for any machine that runs the tests: a mix-up of files or units would be off by far more.
    assert case.speedup.low < 1.5
    assert case.speedup.high > 1 / 1.5
    assert case.same_file.low <= case.same_file.value <= case.same_file.high


def test_a_turn_runs_its_batches_in_order_after_a_discarded_one(cases: list[Case]) -> None:
    lengths: list[int] = []
    batches = [partial(lengths.append, inputs["input_ids"].shape[1]) for inputs in cases[1].batches]
    seconds = run_turn(batches, first=4, runs=5)
    assert len(seconds) == 5
    assert lengths == [11, 11, 40, 3, 11, 40]


def test_on_a_gpu_a_worker_times_what_is_there_already(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Model:
        def bind(self, inputs: dict[str, Any]) -> Callable[[], None]:
            return partial(happened.append, f"run {inputs['input_ids'].shape}")

        def run(self, inputs: dict[str, Any]) -> None:
            happened.append("copied and run")

    happened: list[str] = []
    monkeypatch.setattr(worker, "_timed_load", lambda _setup: (Model(), 0.5))
    for provider in ("cuda", "cpu"):
        setup = {"inputs": str(inputs), "runtime": "onnxruntime", "provider": provider}
        worker._serve(iter([setup, {"turn": 0, "first": 0, "runs": 1}]), io.StringIO())
    (shape,) = {array["input_ids"].shape for array in load_batches(inputs)[0][:1]}
    assert happened == [f"run {shape}"] * 2 + ["copied and run"] * 2


def test_a_worker_that_dies_is_reported_with_its_file(bert_file: Path, inputs: Path) -> None:
    with Worker(bert_file, inputs, provider="cpu", threads=1) as worker:
        worker.load()
        os.kill(worker._process.pid, signal.SIGKILL)
        with pytest.raises(BenchmarkError, match="status -9") as caught:
            worker.turn(0, 0, 1)
    assert caught.value.where == str(bert_file)
    assert isinstance(caught.value, SdpError)


def test_the_last_lines_of_a_worker_are_reported(tmp_path: Path, inputs: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with (
        Worker(tmp_path / "m.onnx", inputs, provider="cpu", threads=1) as worker,
        pytest.raises(BenchmarkError, match="onnxruntime cannot load the model"),
    ):
        worker.load()


def test_inputs_that_the_model_does_not_take_are_reported(xlmr_file: Path, cases: list[Case]) -> None:
    with pytest.raises(BenchmarkError, match="token_type_ids"):
        benchmark_pair(xlmr_file, xlmr_file, cases, threads=[1])


def test_a_missing_file_is_named_before_anything_starts(bert_file: Path, tmp_path: Path, cases: list[Case]) -> None:
    with pytest.raises(ModelFileError, match=r"none\.onnx"):
        benchmark_pair(bert_file, tmp_path / "none.onnx", cases, threads=[1])


def test_a_worker_ends_with_its_block(bert_file: Path, inputs: Path) -> None:
    with Worker(bert_file, inputs, provider="cpu", threads=1) as worker:
        worker.load()
        process = worker._process._process
        assert os.getsid(process.pid) == process.pid
    assert process.returncode is not None


def test_a_worker_does_not_outlive_a_parent_that_was_killed(bert_file: Path, inputs: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from sdp_onnx.bench.process import Worker\n"
        "worker = Worker(Path(sys.argv[1]), Path(sys.argv[2]), provider='cpu', threads=1); worker.load()\n"
        "print(worker._process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(bert_file), str(inputs)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(200):
        if not alive(pid):
            return
        time.sleep(0.05)
    pytest.fail("the worker lives on")


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class FakeWorker:
    """Takes a fixed time per run, whatever the machine does; remembers its turns in a list shared by all."""

    speeds: ClassVar[dict[str, float]] = {"dense": 0.03, "sparse": 0.01}
    turns: ClassVar[list[tuple[int, int, int]]] = []
    started: ClassVar[list[str]] = []

    def __init__(self, model: Path, _inputs: Path, **_settings: Any) -> None:
        self.name = model.stem
        self.number = len(self.started)
        self.started.append(self.name)

    def __enter__(self) -> FakeWorker:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def load(self) -> None:
        pass

    def turn(self, _case: int, first: int, runs: int) -> list[float]:
        self.turns.append((self.number, first, runs))
        # The first baseline process is 10 % slower, as on a machine that is not quiet.
        factor = 1.1 if self.number == 0 else 1.0
        return [self.speeds[self.name] * factor] * runs

    def finish(self) -> tuple[int | None, list[float]]:
        return 100 + self.number, [0.001, 0.002, 0.009]


def test_ratios_roles_and_turns_with_known_times(
    bert_file: Path, tmp_path: Path, cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("dense", "sparse"):
        (tmp_path / f"{name}.onnx").write_bytes(bert_file.read_bytes())
    monkeypatch.setattr(bench, "Worker", FakeWorker)
    monkeypatch.setattr(FakeWorker, "turns", [])
    monkeypatch.setattr(FakeWorker, "started", [])
    result = benchmark_pair(
        tmp_path / "dense.onnx", tmp_path / "sparse.onnx", cases[:1], threads=[1], seconds_per_case=0, min_rounds=6
    )
    (case,) = result.cases
    assert FakeWorker.started == ["dense", "dense", "sparse"]
    assert (case.same_file.value, case.quiet, result.quiet) == (pytest.approx(1.1), False, False)
    estimate = 3 * 1.1**0.5
    speedup = (case.speedup.low, case.speedup.value, case.speedup.high)
    # One A/A ratio is one degree of freedom: 12.7 standard errors.
    width = 1.1 ** (12.7062 * 0.75**0.5)
    assert speedup == pytest.approx((estimate / width, estimate, estimate * width), rel=1e-4)
    assert case.starts == (Start(6, pytest.approx(estimate), pytest.approx(0), pytest.approx(1.1), 10.0, 10.0),)
    assert case.candidate.p50_ms == pytest.approx(10)
    assert case.candidate.rows_per_second == pytest.approx(100)
    assert [(p.peak_memory_bytes, p.load_ms) for p in result.processes] == [(100, 2), (101, 2), (102, 2)]
    # After the calibration: in each round every process runs the same batches, each order once in six rounds.
    turns = FakeWorker.turns[1:]
    rounds = [turns[start : start + 3] for start in range(0, 18, 3)]
    assert len({tuple(number for number, _, _ in turn) for turn in rounds}) == 6
    assert [{(first, runs) for _, first, runs in turn} for turn in rounds] == [{(number, 1)} for number in range(6)]
