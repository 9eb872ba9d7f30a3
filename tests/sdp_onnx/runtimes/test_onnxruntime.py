from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from sdp_onnx.errors import ModelRunError, ProviderError
from sdp_onnx.operators.library import has_library
from sdp_onnx.runtimes import onnxruntime
from sdp_onnx.runtimes.base import Capabilities
from sdp_onnx.runtimes.onnxruntime import OnnxRuntime, create_session, require_cuda


def no_gpu() -> bool:
    try:
        require_cuda()
    except ProviderError:
        return True
    return False


def test_a_cpu_session_is_quiet_and_has_its_threads(bert_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    created = create_session(bert_file, threads=1)
    assert created.get_providers() == ["CPUExecutionProvider"]
    assert created.get_session_options().intra_op_num_threads == 1
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.skipif(not no_gpu(), reason="there is a GPU here")
def test_cuda_without_a_gpu_is_an_error_that_names_what_is_missing(
    bert_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ProviderError, match=r"driver|CUDA provider|GPU") as caught:
        create_session(bert_file, provider="cuda")
    assert caught.value.hint
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_wheel_without_cuda_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ProviderError, match="built without") as caught:
        require_cuda()
    assert "onnxruntime-gpu" in caught.value.hint


@pytest.mark.parametrize(
    ("status", "message"), [(100, "error 100"), (0, "no GPU to this process")], ids=["no device", "device hidden"]
)
def test_a_driver_without_a_gpu_is_named(status: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = SimpleNamespace(cuInit=lambda _flags: status, cuDeviceGetCount=lambda _count: 0)
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: driver)
    with pytest.raises(ProviderError, match=message):
        require_cuda()


@pytest.mark.skipif(not no_gpu(), reason="there is a GPU here")
def test_a_silent_fall_back_to_the_cpu_is_an_error(
    bert_file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # As if the driver were fine: onnxruntime itself then fails to load its CUDA library and goes on with the CPU.
    monkeypatch.setattr(onnxruntime, "require_cuda", lambda: None)
    with pytest.raises(ProviderError, match="fell back to CPUExecutionProvider"):
        create_session(bert_file, provider="cuda")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_model_names_its_inputs_and_fails_with_the_reason(bert_file: Path) -> None:
    model = OnnxRuntime().load(bert_file)
    ids = np.array([[2, 5, 3]])
    logits = model.run({name: np.ones_like(ids) if name != "input_ids" else ids for name in model.input_names})
    assert logits.shape[0] == 1
    with pytest.raises(ModelRunError, match=r"the model does not run: .*input_ids"):
        model.run({"input_ids": ids.astype(np.float32)})


def test_a_bound_batch_runs_where_it_is(bert_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = OnnxRuntime().load(bert_file)
    inputs = {name: np.ones((2, 5), np.int64) for name in model.input_names}
    found: list[Any] = []
    real = model._session.run_with_iobinding

    def remember(binding: Any) -> None:
        real(binding)
        found.extend(binding.copy_outputs_to_cpu())

    monkeypatch.setattr(model._session, "run_with_iobinding", remember)
    run = model.bind(inputs)
    run()
    run()
    assert len(found) == 2
    for logits in found:
        np.testing.assert_array_equal(logits, model.run(inputs))


def test_what_it_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    assert OnnxRuntime().capabilities == Capabilities(("cpu", "cuda"), has_library(), profile=True)
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert OnnxRuntime().capabilities.providers == ("cpu",)
    OnnxRuntime().require("cpu")
    with pytest.raises(ProviderError, match="built without"):
        OnnxRuntime().require("cuda")
