"""Profiles of tiny files, made by onnxruntime itself; nothing here depends on how fast the machine is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from sdp_onnx.bench import kernel_profile
from sdp_onnx.bench.cases import Case
from sdp_onnx.bench.kernel_profile import profile_model
from sdp_onnx.bench.results import ModelProfile
from sdp_onnx.errors import BenchmarkError
from sdp_onnx.export.encode import encode_model
from sdp_onnx.model.linear_layers import LinearLayer, linear_layers
from sdp_onnx.operators.library import has_library, instruction_set
from sdp_onnx.runtimes.profile_events import NodeTime, ProfiledRun, read_runs

needs_library = pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")


@pytest.fixture
def cases(make_batch: Callable[..., Any], input_names: dict[str, Any]) -> list[Case]:
    names = input_names["bert"]
    # The second row of the first case is half padding.
    padded = make_batch(names, 2, 16)
    return [Case("padded", 2, 16, [padded, padded]), Case("one row", 1, 10, [make_batch(names, 1, 10)])]


def weights_of(path: Path) -> dict[str, int]:
    """Nonzeros of each matrix that the graph multiplies by."""
    graph = onnx.load(path).graph
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    used = {node.input[1] for node in graph.node if node.op_type in ("MatMul", "Gemm")}
    return {name: int(np.count_nonzero(array)) for name, array in stored.items() if name in used and array.ndim == 2}


def check_sums(profile: ModelProfile) -> None:
    for case in profile.cases:
        assert case.runs >= 5
        assert sum(part.share for part in case.parts) == pytest.approx(1)
        assert all(0 < part.share < 1 and part.ms >= 0 for part in case.parts)
        assert {part.part for part in case.parts} >= {"attention", "rest"}
        assert all(0 < layer.ms < case.run_ms and layer.gflops > 0 for layer in case.layers)
        # Medians of layers may add up to a little more than the median of the whole.
        assert sum(layer.ms for layer in case.layers) < 1.5 * case.run_ms
    assert json.loads(json.dumps(profile.to_json()))["cases"][0]["layers"]


def test_a_plain_file_is_all_dense(bert_file: Path, cases: list[Case]) -> None:
    profile = profile_model(bert_file, cases, threads=[1], seconds_per_case=0.05)
    check_sums(profile)
    assert [(case.case, case.threads) for case in profile.cases] == [("padded", 1), ("one row", 1)]
    nonzeros = weights_of(bert_file)
    assert len(nonzeros) == 2 * 6 + 2
    for case in profile.cases:
        assert {layer.weights[0] for layer in case.layers} == set(nonzeros)
        assert {(layer.kind, layer.kernel) for layer in case.layers} == {("dense", "onnxruntime")}
        for layer in case.layers:
            elements = layer.in_features * layer.out_features
            assert layer.density == pytest.approx(nonzeros[layer.weights[0]] / elements)
    sizes = {layer.weights[0]: (layer.in_features, layer.out_features) for layer in profile.cases[0].layers}
    assert sizes["bert.encoder.layer.0.intermediate.dense.weight"] == (32, 64)
    assert sizes["classifier.weight"] == (32, 3)


@needs_library
@pytest.mark.parametrize(("precision", "kind"), [("fp32", "sparse"), ("int8", "sparse-int8")])
def test_a_file_for_the_library(bert_file: Path, tmp_path: Path, cases: list[Case], precision: Any, kind: str) -> None:
    path = tmp_path / "model.onnx"
    encode_model(bert_file, path, encoding="kernel", precision=precision, metadata={})
    profile = profile_model(path, cases, threads=[1, 2], seconds_per_case=0.05)
    check_sums(profile)
    assert [(case.case, case.threads) for case in profile.cases] == [
        (name, threads) for threads in (1, 2) for name in ("padded", "one row")
    ]
    assert [peak.threads for peak in profile.peaks] == [1, 2]
    for peak in profile.peaks:
        assert peak.instruction_set == instruction_set()
        assert peak.fp32_gflops > 0
        assert peak.int8_gops > 0
    for case in profile.cases:
        encoder = [layer for layer in case.layers if layer.kernel != "onnxruntime"]
        # Query, key and value run as one.
        assert [len(layer.weights) for layer in encoder] == [3, 1, 1, 1] * 2
        assert {(layer.kind, layer.kernel) for layer in encoder} == {(kind, instruction_set())}
        assert [layer.weights[0] for layer in case.layers[8:]] == ["bert.pooler.dense.weight", "classifier.weight"]
        assert {part.part for part in case.parts} == {kind, "dense", "attention", "rest"}
        # One of ten weights, so about one of three blocks of four: 1 - 0.9 ** 4 = 0.34.
        assert all(layer.filled == pytest.approx(0.34 if precision == "int8" else 0.1, abs=0.06) for layer in encoder)
        assert all(layer.filled < layer.break_even for layer in encoder)
    if precision == "fp32":
        held = {name for layer in profile.cases[0].layers for name in layer.weights}
        assert held == set(weights_of(bert_file))
        # Of the last layer, queries, keys and values alone are of all tokens.
        first_tokens = [layer.first_tokens for layer in linear_layers(path).values() if layer.in_library]
        assert first_tokens == [False] * 5 + [True] * 3
        found = sum(layer.nonzeros for layer in linear_layers(path).values())
        assert found == sum(weights_of(bert_file).values())


def test_operations_count_nonzeros_and_real_tokens(cases: list[Case]) -> None:
    """Known times in, known speeds out."""
    layers = {
        "encoder": LinearLayer(("w",), "sparse", True, 10, 20, nonzeros=50, filled=0.25),
        "last": LinearLayer(("l",), "sparse", True, 10, 20, nonzeros=40, filled=0.2, first_tokens=True),
        "node": LinearLayer(("v",), "dense", False, 10, 10, nonzeros=100, filled=1),
        "head": LinearLayer(("h",), "dense", False, 10, 3, nonzeros=30, filled=1),
    }
    mask = cases[0].batches[0]["attention_mask"]
    assert 16 < mask.sum() < 32
    tokens = int(mask.sum())
    nodes = (
        NodeTime("encoder", "SparseLinear", 10, 64),
        NodeTime("last", "SparseLinear", 1, 16),
        NodeTime("fused node", "FusedGemm", 5, 32),
        NodeTime("head", "Gemm", 2, 2),
        NodeTime("attention", "PackedAttention", 19, 0),
        NodeTime("other", "Gather", 3, 0),
    )
    runs = [ProfiledRun(50, nodes)] * 5
    case = kernel_profile._case_profile(cases[0], 1, runs, layers)
    assert [layer.gflops for layer in case.layers] == pytest.approx(
        [2 * 50 * tokens / 10e3, 2 * 40 * len(mask) / 1e3, 2 * 100 * tokens / 5e3, 2 * 30 * 2 / 2e3]
    )
    shares = {part.part: part.share for part in case.parts}
    assert shares == pytest.approx({"sparse": 0.22, "dense": 0.14, "attention": 0.38, "rest": 0.26})
    speeds = {part.part: part.gflops for part in case.parts}
    assert speeds["dense"] == pytest.approx((2 * 100 * tokens + 2 * 30 * 2) / 7e3)
    assert speeds["attention"] is None
    assert (case.tokens, case.run_ms) == (tokens, 0.05)


def test_reading_a_profile(tmp_path: Path) -> None:
    def node(name: str, op_type: str, microseconds: int, **more: Any) -> dict[str, Any]:
        return {"cat": "Node", "name": name, "dur": microseconds, "args": {"op_name": op_type, **more}}

    run = {"cat": "Session", "name": "model_run", "dur": 9, "args": {}}
    events = [
        {"cat": "Session", "name": "session_initialization", "dur": 99, "args": {}},
        node("a_kernel_time", "MatMul", 4, output_type_shape=[{"float": [2, 8, 32]}]),
        node("b_kernel_time", "Shape", 0, output_type_shape=[{"int64": []}]),
        {"cat": "Session", "name": "SequentialExecutor::Execute", "dur": 8, "args": {}},
        run,
        run,
    ]
    (tmp_path / "profile.json").write_text(json.dumps(events))
    assert read_runs(tmp_path / "profile.json") == [
        ProfiledRun(9, (NodeTime("a", "MatMul", 4, 16), NodeTime("b", "Shape", 1, 0))),
        ProfiledRun(9, ()),
    ]


@pytest.mark.parametrize("content", [[], None])
def test_a_profile_without_the_runs_is_refused(
    content: Any, bert_file: Path, cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(path: Path) -> list[ProfiledRun]:
        path.write_text(json.dumps(content) if content is not None else "[{")
        return read_runs(path)

    monkeypatch.setattr(kernel_profile, "read_runs", damaged)
    with pytest.raises(BenchmarkError, match="profile"):
        profile_model(bert_file, cases, threads=[1], seconds_per_case=0.01)
