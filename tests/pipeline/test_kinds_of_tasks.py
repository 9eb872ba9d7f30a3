"""The pipeline on other tasks, models and settings than the toy's, through the real command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from sdp_onnx.operators.library import has_library
from support.card import answers_as_predict_does, examples, serves_as_predict_does
from support.toy import PREFLIGHT, save_tiny_model, sdp, toy_rows, write_project


def read(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.mark.parametrize("preflight", [(), pytest.param(PREFLIGHT, marks=pytest.mark.slow)], ids=["plain", "preflight"])
def test_regression_on_pairs_with_xlmr_global_uniform_and_a_live_teacher(
    preflight: tuple[str, ...], tmp_path: Path
) -> None:
    model = save_tiny_model(tmp_path / "xlmr", "xlmr")
    write_project(tmp_path, model)
    for name, seed in (("train", 1), ("dev", 2)):
        rows = [
            {"first": text, "second": other, "score": float(label == kind) * 5}
            for (text, label), (other, kind) in zip(toy_rows(80, seed), toy_rows(80, seed + 10)[::-1], strict=True)
        ]
        rows += [{**row, "second": row["first"], "score": 2.5} for row in rows[:20]]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    overrides = {
        "task.type": '"regression"',
        "data.train": '"train.jsonl"',
        "data.dev": '"dev.jsonl"',
        "data.text": '["first", "second"]',
        "data.label": '"score"',
        "prune.scope": '"global"',
        "prune.schedule": '"uniform"',
        "prune.losses": '[{name="cross-correlation", representation="tokens"}, {name="kld"}]',
        "analysis.rows": "999",
        "runtime.teacher_cache_gb": "0",
        "finetune.epochs": "2",
        "prune.epochs": "2",
        "bench.sequence_lengths": '["task"]',
        "bench.seconds": "0.1",
        "gate.max_metric_drop": "2.0",
        # In two epochs it learns nothing: that is not what is looked at here.
        "gate.allow_constant_dense": "true",
    }
    options = [part for key, value in overrides.items() for part in ("--set", f"{key}={value}")]
    sdp("run", "toy.toml", *options, *preflight, cwd=tmp_path, check=True)
    run = tmp_path / "runs" / "toy"
    metrics = read(run / "4-export" / "metrics.json")
    assert metrics["metric"] == "pearson"
    assert metrics["torch"]["max_relative_error"] < 1e-4
    masks = load_file(run / "2-prune" / "masks.safetensors")
    total = sum(mask.numel() for mask in masks.values())
    assert sum(int((mask == 0).sum()) for mask in masks.values()) == round(0.8 * total)
    assert len({round(float(mask.float().mean()), 3) for mask in masks.values()}) > 1, "global: layers differ"
    assert not (run / "cache").exists(), "token rows are not stored"
    final = read(run / "2-prune" / "analysis.json")["final"]
    assert final.keys() == {"step", "metric", "output_snr_db", "cka", "cosine"}, "there are no classes"
    assert final["metric"] == pytest.approx(read(run / "2-prune" / "metrics.json")["dev"], abs=1e-5)
    page = (run / "report.html").read_text()
    assert "likeness to the teacher" in page
    assert "separability" not in page.partition("<details><summary>Recipe")[0]
    answer = sdp("predict", run, "the film was good", "a dull story", cwd=tmp_path, check=True).stdout
    float(answer)
    for example in examples(run / "8-ship")[:2]:
        answers_as_predict_does(run / "8-ship", example)
    serves_as_predict_does(run / "8-ship")


def test_an_export_beyond_the_tolerance_fails_and_nothing_appears(finished: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(finished, project, symlinks=True)
    before = (project / "runs/toy/4-export/model.onnx").read_bytes()
    done = sdp("export", "toy.toml", "--set", "export.tolerance=1e-12", cwd=project)
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "1e-12" in done.stderr
    assert "Traceback" not in done.stderr
    assert (project / "runs/toy/4-export/model.onnx").read_bytes() == before


@pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")
def test_an_export_in_int8_is_smaller_and_scored_as_it_is(finished: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(finished, project, symlinks=True)
    exported = project / "runs/toy/4-export"
    before = (exported / "model.onnx").stat().st_size
    sdp("export", "toy.toml", "--set", 'export.precision="int8"', cwd=project, check=True)
    assert (exported / "model.onnx").stat().st_size < before
    assert read(exported / "metrics.json")["torch"]["tolerance"] == 0.2
    content = json.loads(sdp("inspect", "runs/toy/4-export/model.onnx", "--json", cwd=project, check=True).stdout)
    # Zeros anywhere, not in blocks: too few empty blocks for a sparse product.
    assert content["operators"]["sdp.DenseLinearInt8"] == 8
    assert {t["dtype"] for t in content["tensors"] if t["encoding"] == "kernel"} == {"int8"}
    refused = sdp(
        "export", "toy.toml", "--set", 'export.precision="int8"', "--set", 'export.encoding="coo"', cwd=project
    )
    assert refused.returncode == 2
    assert "needs the operator library" in refused.stderr


def test_an_export_in_fp16_takes_half_of_the_bytes_and_is_scored_as_it_is(finished: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(finished, project, symlinks=True)
    exported = project / "runs/toy/4-export"
    options = ["--set", 'export.encoding="dense"', "--set"]
    sdp("export", "toy.toml", *options, 'export.precision="fp32"', cwd=project, check=True)
    before = (exported / "model.onnx").stat().st_size
    sdp("gate", "toy.toml", *options, 'export.precision="fp16"', cwd=project)
    assert (exported / "model.onnx").stat().st_size < 0.6 * before
    metrics = read(exported / "metrics.json")
    assert metrics["torch"]["tolerance"] == 0.02
    assert 0 < metrics["torch"]["max_relative_error"] < 0.01
    assert metrics["torch"]["same_predictions"] > 0.95
    content = json.loads(sdp("inspect", "runs/toy/4-export/model.onnx", "--json", cwd=project, check=True).stdout)
    assert {t["dtype"] for t in content["tensors"] if len(t["shape"]) == 2} <= {"float16", "int64"}
    # As a server does, from the shipped folder.
    sdp("ship", "toy.toml", *options, 'export.precision="fp16"', cwd=project, check=True)
    answers_as_predict_does(project / "runs/toy/8-ship", examples(project / "runs/toy/8-ship")[0])


def test_a_network_beyond_half_precision_is_not_exported_in_it(finished: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(finished, project, symlinks=True)
    file = project / "runs/toy/2-prune/model.safetensors"
    weights = load_file(file)
    weights["bert.encoder.layer.0.output.dense.weight"] *= 1e6
    save_file(weights, file, {"format": "pt"})
    # Its evaluation is of the network as it was, and of no interest here.
    done = sdp("export", "toy.toml", "--set", 'export.precision="fp16"', cwd=project)
    assert done.returncode == 1
    assert "larger than half precision can hold, 65504" in done.stderr
    assert 'export.precision = "fp32"' in done.stderr
    assert "Traceback" not in done.stderr


def test_the_exit_code_is_the_verdict(finished: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(finished, project, symlinks=True)
    cases = read(project / "runs/toy/5-bench/latency.json")["cases"]
    # Inside the interval of the case with the lowest upper end, and above no other's: inconclusive.
    doubtful = min(case["speedup"]["high"] for case in cases)
    for setting, code in (("max_size_ratio=0.01", 1), (f"min_speedup={doubtful}", 3), ("max_size_ratio=1.0", 0)):
        done = sdp("gate", "toy.toml", "--set", f"gate.{setting}", cwd=project)
        assert done.returncode == code, done.stdout + done.stderr
