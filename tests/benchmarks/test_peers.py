"""benchmarks/peers/peers.py at a tiny size, on the engines that need no environment of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import peers
from sdp_onnx.operators.library import has_library


def measure(*arguments: str | Path) -> None:
    """Run the program's `run` in a process of its own: others that it starts write to its streams."""
    command = [sys.executable, peers.__file__, "run", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def show(*arguments: str | Path) -> str:
    done = CliRunner().invoke(peers.app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not has_library(), reason="no operator library: there was no C++ compiler")
@pytest.mark.slow  # a program that is run by hand
def test_a_measurement_a_table_and_a_picture(tmp_path: Path) -> None:
    output = tmp_path / "results" / "peers.json"
    settings = ["--size", "tiny", "--batches", "2", "--threads", "1", "--rounds", "2", "--models", tmp_path / "models"]
    engines = "ort-fp32,ort-int8,openvino,ours-fp32,ours-int8"
    measure("--lengths", "32", "--engines", engines, *settings, "--output", output)
    assert list(json.loads(output.read_text())["skipped"]) == ["openvino"]
    measure("--lengths", "8,32", "--engines", "ort-fp32,ours-fp32", *settings, "--resume", "--output", output)

    results = json.loads(output.read_text())
    kept, added = results["cells"]
    assert (kept["length"], list(kept["engines"])) == (32, ["ort-fp32", "ort-int8", "ours-fp32", "ours-int8"])
    assert (added["length"], list(added["engines"])) == (8, ["ort-fp32", "ours-fp32"])
    for cell in results["cells"]:
        assert cell["failed"] == {}
        for name, measured in cell["engines"].items():
            assert len(measured["turns_ms"]) == 2
            assert measured["relative_error"] < (1e-5 if name.endswith("fp32") else 0.2)
            assert measured["peak_memory"] > measured["memory_before"]
    # 90 % zeros, one and a quarter times their bytes.
    sizes = {name: engine["encoder_bytes"] for name, engine in results["engines"].items()}
    assert sizes["ours-fp32"] < 0.5 * sizes["ort-fp32"]
    ratio = kept["ratios"]["ours-int8"]["ort-fp32"]
    assert ratio["low"] <= ratio["value"] <= ratio["high"]

    table = show("table", "--batch", "2", "--threads", "1", "--output", output)
    assert "| 32 | onnxruntime fp32, dense |" in table
    assert "Not run: OpenVINO" not in table
    show("plot", "--output", output)
    assert "batch 2, 1 thread" in output.with_suffix(".svg").read_text()


@pytest.mark.slow
def test_engines_that_give_other_answers_are_left_out(tmp_path: Path) -> None:
    """A file of other weights under the name of the right one."""
    output, models = tmp_path / "peers.json", tmp_path / "models"
    settings = ["--size", "tiny", "--batches", "1", "--threads", "1", "--rounds", "2", "--lengths", "8"]
    settings += ["--engines", "ort-fp32", "--output", str(output), "--models", str(models)]
    measure(*settings)
    (models / "dense-1x4.onnx").replace(models / "dense-unstructured.onnx")
    measure(*settings)
    (cell,) = json.loads(output.read_text())["cells"]
    assert cell["engines"] == {}
    assert "differ from torch's" in cell["failed"]["ort-fp32"]
