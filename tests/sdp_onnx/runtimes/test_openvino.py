"""OpenVINO as a runtime: the same logits as onnxruntime's, other shapes, and files that it cannot run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdp_onnx.bench.cases import Case
from sdp_onnx.bench.pair import benchmark_pair
from sdp_onnx.deploy.verify import relative_error
from sdp_onnx.errors import BenchmarkError, ModelFileError, ModelRunError, ProviderError
from sdp_onnx.export.encode import encode_model
from sdp_onnx.operators.library import has_library
from sdp_onnx.runtimes import openvino, openvino_int8
from sdp_onnx.runtimes.openvino import OpenVinoRuntime
from sdp_onnx.runtimes.openvino_int8 import quantize
from sdp_onnx.runtimes.registry import default_runtime

needs_openvino = pytest.mark.skipif(
    not OpenVinoRuntime().environment()["packages"], reason="installed without the extra openvino"
)
# Where the CPU has instructions for bfloat16, OpenVINO computes with them.
BF16 = 0.05


@pytest.fixture
def batches(make_batch: Callable[..., Any], input_names: dict[str, Any]) -> list[dict[str, Any]]:
    return [make_batch(input_names["bert"], rows, tokens) for rows, tokens in ((1, 5), (3, 12), (2, 1))]


@needs_openvino
def test_it_computes_what_onnxruntime_does_at_any_shape(bert_file: Path, batches: list[dict[str, Any]]) -> None:
    model, reference = OpenVinoRuntime().load(bert_file, threads=1), default_runtime().load(bert_file)
    assert set(model.input_names) == set(reference.input_names)
    for batch in batches:
        expected = reference.outputs(batch)
        found = model.outputs(batch)
        assert found.keys() == expected.keys()
        assert relative_error(next(iter(expected.values())), model.run(batch)) < BF16
        model.bind(batch)()


@needs_openvino
def test_int8_is_made_of_batches_and_timed_against_onnxruntime(
    bert_file: Path, batches: list[dict[str, Any]], tmp_path: Path
) -> None:
    target = tmp_path / "int8.xml"
    quantize(bert_file, Case("calibration", 1, None, batches), target)
    assert (tmp_path / "int8.bin").stat().st_size < bert_file.stat().st_size
    logits = OpenVinoRuntime().load(target).run(batches[0])
    assert relative_error(default_runtime().load(bert_file).run(batches[0]), logits) < 0.3
    case = Case("own lengths", 1, None, batches)
    result = benchmark_pair(
        target, bert_file, [case], threads=[1], seconds_per_case=0.1, min_rounds=2, baseline_runtime="openvino"
    )
    assert result.baseline_bytes == sum((tmp_path / name).stat().st_size for name in ("int8.xml", "int8.bin"))
    assert result.cases[0].speedup.value > 0


@needs_openvino
def test_what_nncf_cannot_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(BenchmarkError, match="NNCF cannot quantize the model"):
        quantize(tmp_path / "broken.onnx", Case("none", 1, None, []), tmp_path / "int8.xml")


@needs_openvino
def test_a_missing_a_damaged_and_a_misused_file(bert_file: Path, batches: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="there is no such file"):
        OpenVinoRuntime().load(tmp_path / "none.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ModelFileError, match="OpenVINO cannot load the model"):
        OpenVinoRuntime().load(tmp_path / "broken.onnx")
    model = OpenVinoRuntime().load(bert_file)
    with pytest.raises(ModelRunError):
        model.run({name: ids.astype(np.float32)[0] for name, ids in batches[0].items()})
    with pytest.raises(ValueError, match="no profile"):
        model.end_profile()
    with pytest.raises(ValueError, match="no profile"):
        OpenVinoRuntime().load(bert_file, profile=tmp_path / "profile")


@needs_openvino
@pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")
def test_a_file_of_the_operator_library_is_refused(bert_file: Path, tmp_path: Path) -> None:
    encode_model(bert_file, tmp_path / "ours.onnx", encoding="kernel", precision="int8", metadata={})
    with pytest.raises(ModelFileError, match="OpenVINO cannot load the model") as refused:
        OpenVinoRuntime().load(tmp_path / "ours.onnx")
    assert 'encoding = "dense"' in refused.value.hint


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match="CPU alone"):
        OpenVinoRuntime().require("cuda")
    for module in (openvino, openvino_int8):
        monkeypatch.setattr(module, "find_spec", lambda _name: None)
    with pytest.raises(ProviderError, match="openvino is not installed") as refused:
        OpenVinoRuntime().require("cpu")
    assert 'pip install "sdp[openvino]"' in refused.value.hint
    with pytest.raises(ProviderError, match="nncf is not installed"):
        quantize(tmp_path / "any.onnx", Case("none", 1, None, []), tmp_path / "int8.xml")
