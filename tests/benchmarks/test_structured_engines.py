"""benchmarks/studies/structured_engines.py on a tiny network: its files, its JSON and its table."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

import structured_engines
from picture_peers import has_openvino
from sdp.models.layers import prunable_weights
from sdp_onnx.operators.library import has_library

pytestmark = pytest.mark.skipif(not has_library(), reason="no operator library: there was no C++ compiler")


def test_a_measurement_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(structured_engines.SHAPES, "cpu", ((1, 5), (2, 7)))
    command = ["run", "--size", "tiny", "--rounds", "2", "--starts", "1", "--results", str(tmp_path)]
    done = CliRunner().invoke(structured_engines.app, command)
    assert done.exit_code == 0, done.output
    cases = json.loads((tmp_path / "structured_engines_cpu.json").read_text())["cases"]
    assert [(case["rows"], case["tokens"]) for case in cases] == [(1, 5), (2, 7)]
    engines = ["onnxruntime fp32", "sdp int8", *["OpenVINO int8"] * has_openvino()]
    names = [f"{name}, {engine}" for name in ("whole", "half") for engine in engines]
    assert all(list(case["files"]) == names for case in cases)
    shown = CliRunner().invoke(structured_engines.app, ["table", "--results", str(tmp_path)]).output.splitlines()
    assert shown[0] == f"| rows x tokens | {' | '.join(names)} |"
    assert len(shown) == 4


def test_half_of_the_units_are_in_the_files_of_a_gpu(tmp_path: Path) -> None:
    files = structured_engines.make_files("tiny", "cuda", tmp_path)
    assert list(files) == [f"{name}, onnxruntime {kind}" for name in ("whole", "half") for kind in ("fp32", "fp16")]
    whole = structured_engines.random_network("tiny")
    half = structured_engines.half_of(whole)
    count = {id(own): sum(weight.numel() for weight in prunable_weights(own).values()) for own in (whole, half)}
    assert 2 * count[id(half)] == count[id(whole)]
    fp16 = onnx.load(files["half, onnxruntime fp16"][0])
    assert any(own.data_type == onnx.TensorProto.FLOAT16 for own in fp16.graph.initializer)


@pytest.mark.parametrize("option", ["--provider", "--size"])
def test_unknown_names_are_reported(option: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(structured_engines.app, ["run", option, "none", "--results", str(tmp_path)])
    assert done.exit_code == 2
    assert "none" in done.stderr
