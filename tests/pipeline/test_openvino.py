"""bench.runtime = "openvino" through the command line: the gate answers whether the exported file is faster."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sdp_onnx.operators.library import has_library
from sdp_onnx.runtimes.openvino import OpenVinoRuntime
from support.pruned_runs import set_options
from support.toy import sdp

pytestmark = pytest.mark.skipif(
    not OpenVinoRuntime().environment()["packages"], reason="installed without the extra openvino"
)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_dense_model_is_timed_scored_and_gated_in_openvino(precision: str, finished: Path, tmp_path: Path) -> None:
    if precision == "int8" and not has_library():
        pytest.skip("installed without a C++ compiler")
    project = Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))
    run = project / "runs" / "toy"
    settings = ["bench.runtime='openvino'", f"export.precision='{precision}'", "bench.seconds=0.2", "bench.starts=1"]
    settings += ["gate.min_speedup=0.0001", "gate.budget_seconds=0", "gate.max_metric_drop=1"]
    done = sdp("report", "toy.toml", *set_options(*settings), cwd=project, check=True)

    bench = read(run / "5-bench" / "latency.json")
    runtime = bench["dense_runtime"]
    assert (runtime["name"], runtime["precision"]) == ("openvino", precision)
    dense = read(run / "3-evaluate" / "metrics.json")["models"]["dense"]["value"]
    assert runtime["score"]["value"] == pytest.approx(dense, abs=0.1)
    assert runtime["relative_error"] < 0.3
    # Sizes are compared with the dense ONNX file, in whatever form OpenVINO has it.
    assert bench["baseline_bytes"] == read(finished / "runs/toy/5-bench/latency.json")["baseline_bytes"]
    (speed,) = [check for check in read(run / "6-gate/verdict.json")["checks"] if check["name"] == "min_speedup"][:1]
    assert speed["outcome"] == "pass"
    assert f"dense model timed in openvino {runtime['version']}, {precision}" in done.stdout
    assert f"dense in openvino {precision}" in (run / "7-report" / "report.html").read_text()


def test_without_the_package_nothing_is_trained(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))
    shutil.rmtree(project / "runs/toy/2-prune")
    monkeypatch.setattr("sdp_onnx.runtimes.openvino.find_spec", lambda _name: None)
    done = sdp("bench", "toy.toml", *set_options("bench.runtime='openvino'"), cwd=project)
    assert done.returncode == 2
    assert 'pip install "sdp[openvino]"' in done.stderr
    assert not (project / "runs/toy/2-prune").exists()
    refused = sdp("bench", "toy.toml", *set_options("bench.runtime='openvino'", "bench.provider='cuda'"), cwd=project)
    assert refused.returncode == 2
    assert "runs on the CPU" in refused.stderr
