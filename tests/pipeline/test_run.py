"""The whole pipeline on a tiny model, through the real command line; its files reopened and looked into."""

from __future__ import annotations

import ast
import csv
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from sdp_onnx.deploy.predictor import Predictor
from sdp_onnx.model.model_file import stored_tensors
from sdp_onnx.operators.kernel_weights import kernel_weights
from sdp_onnx.operators.library import LIBRARY_NAME, has_library
from support.toy import sdp

STAGES = ["1-finetune", "2-prune", "3-evaluate", "4-export", "5-bench", "6-gate", "7-report", "8-ship"]
FOLDERS = ["0-preflight", *STAGES]
DEPLOYMENT = (Path(__file__).parents[2] / "toolchain/docs/DEPLOYMENT.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project(finished: Path) -> Path:
    """A project whose recipe was run once."""
    return finished


@pytest.fixture(scope="module")
def run(project: Path) -> Path:
    """Its run folder."""
    return project / "runs" / "toy"


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def test_every_stage_left_its_files_and_nothing_else(run: Path) -> None:
    assert sorted(entry.name for entry in run.iterdir()) == sorted(
        [*FOLDERS, ".lock", "cache", "report.html", "run.json"]
    )
    for stage in FOLDERS:
        outputs = read(run / stage / "stage.json")["outputs"]
        found = {str(path.relative_to(run / stage)) for path in (run / stage).rglob("*") if path.is_file()}
        assert found == {*outputs, "stage.json"}
    assert {"model.onnx", "tokenizer.json", "config.json", "manifest.json", "metrics.json"} <= {
        entry.name for entry in (run / "4-export").iterdir()
    }


def test_the_dense_model_learned_and_the_pruned_one_has_the_wanted_zeros(run: Path) -> None:
    assert read(run / "1-finetune" / "metrics.json")["dev"] > 0.9
    masks = load_file(run / "2-prune" / "masks.safetensors")
    weights = load_file(run / "2-prune" / "model.safetensors")
    assert len(masks) == 2 * 6
    for name, mask in masks.items():
        assert float((mask == 0).float().mean()) == pytest.approx(0.8, abs=1 / mask.numel())
        assert torch.equal(weights[name] == 0, mask == 0)


def test_sparsity_rose_along_the_cubic_schedule(run: Path) -> None:
    records = [json.loads(line) for line in (run / "2-prune" / "pruning.jsonl").read_text().splitlines()]
    assert [round(record["wanted"], 6) for record in records] == [
        round(0.8 * (1 - (1 - k / 5) ** 3), 6) for k in range(1, 6)
    ]
    assert [record["step"] for record in records] == [round(24 * k / 5) for k in range(1, 6)]
    assert all(record["sparsity"] == pytest.approx(record["wanted"], abs=0.001) for record in records)


def test_zeros_in_the_file_are_those_of_torch_layer_by_layer(run: Path) -> None:
    """From every way of storing a tensor."""
    path = run / "4-export" / "model.onnx"
    model = onnx.load(path)
    graph = model.graph
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for sparse in graph.sparse_initializer:
        values, indices = onnx.numpy_helper.to_array(sparse.values), onnx.numpy_helper.to_array(sparse.indices)
        dense = np.zeros(int(np.prod(sparse.dims)), dtype=values.dtype)
        dense[indices] = values
        stored[sparse.values.name] = dense.reshape(sparse.dims)
    stored |= kernel_weights(model, {tensor.name: tensor for tensor in stored_tensors(model, path)})
    weights = load_file(run / "2-prune" / "model.safetensors")
    for name in load_file(run / "2-prune" / "masks.safetensors"):
        expected = weights[name].numpy()
        assert np.array_equal(stored[name], expected) or np.array_equal(stored[name], expected.T)
    assert graph.sparse_initializer or has_library()


def test_a_plain_onnxruntime_session_gives_torchs_logits(run: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(run / "4-export")
    texts = ["the film was good", "a very dull story and a weak plot with some awful music", "good"]
    batch = tokenizer(texts, padding=True, return_tensors="np")
    options = onnxruntime.SessionOptions()
    if has_library():
        options.register_custom_ops_library(str(run / "4-export" / LIBRARY_NAME))
    path = run / "4-export" / "model.onnx"
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = {value.name: batch[value.name].astype(np.int64) for value in session.get_inputs()}
    logits = session.run(None, inputs)[0]
    model = AutoModelForSequenceClassification.from_pretrained(run / "2-prune").eval()
    with torch.no_grad():
        expected = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.numpy()
    assert np.abs(logits - expected).max() <= 1e-4 * np.abs(expected).max()
    onnx.checker.check_model(run / "4-export" / "model.onnx")


def test_the_evaluation_can_be_recomputed_from_its_own_files(run: Path) -> None:
    metrics = read(run / "3-evaluate" / "metrics.json")
    logits = load_file(run / "3-evaluate" / "predictions.safetensors")
    labels = np.arange(60) % 2 == 0  # toy rows alternate pos, neg; "neg" sorts first
    for model in ("dense", "pruned"):
        accuracy = float(np.mean(logits[model].numpy().argmax(axis=1) == labels))
        assert metrics["models"][model]["value"] == pytest.approx(accuracy)
        assert metrics["models"][model]["low"] <= accuracy <= metrics["models"][model]["high"]
    changed = int((logits["dense"].argmax(1) != logits["pruned"].argmax(1)).sum())
    with (run / "3-evaluate" / "flips.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == changed == metrics["flips"]


def test_manifest_and_metadata_tell_where_the_file_comes_from(run: Path) -> None:
    manifest = read(run / "4-export" / "manifest.json")
    assert manifest["recipe"]["prune"]["sparsity"] == 0.8
    assert set(manifest["files"]) >= {"model.onnx", "tokenizer.json", "config.json"}
    for name, entry in manifest["files"].items():
        assert hashlib.sha256((run / "4-export" / name).read_bytes()).hexdigest() == entry["sha256"]
    assert manifest["inputs"]["data"]
    assert manifest["versions"]["torch"] == torch.__version__
    metadata = {entry.key: entry.value for entry in onnx.load(run / "4-export" / "model.onnx").metadata_props}
    layers = json.loads(metadata["sdp.layers"])
    assert len(layers) == 12
    assert json.loads(metadata["sdp.recipe"])["name"] == "toy"
    # It may be passed on: where files lie on this machine is nobody's business.
    for text in (metadata["sdp.recipe"], json.dumps(manifest)):
        assert "train.tsv" in text
        assert str(run.parents[1]) not in text


def test_again_everything_is_up_to_date_and_torch_is_not_loaded(project: Path) -> None:
    done = sdp("run", "toy.toml", cwd=project, check=True)
    assert done.stderr.count("up to date") == len(STAGES)
    assert "runs (" not in done.stderr


def test_the_table_shows_what_the_files_hold(run: Path, project: Path) -> None:
    shown = {}
    for line in sdp("report", cwd=project, check=True).stdout.splitlines():
        cells = [cell.strip() for cell in line.strip("│┃ ").split("│")]
        if len(cells) == 4:
            shown[cells[0]] = cells[1:]
    export, bench = (json.loads((run / name).read_text()) for name in ("4-export/metrics.json", "5-bench/latency.json"))
    values = [export["models"][model]["value"] for model in ("dense", "exported")]
    assert [float(shown["accuracy on dev"][i]) for i in (0, 2)] == pytest.approx(values, abs=5e-4)
    assert shown["encoder zeros"] == ["0.0%", "80.0%", "80.0%"]
    assert shown["ONNX file"][0] == f"{bench['baseline_bytes'] / 1e6:.1f} MB"
    assert sum(name.startswith("p50, batch") for name in shown) == len(bench["cases"])


def test_the_time_is_reported_layer_by_layer(run: Path, project: Path) -> None:
    profile = read(run / "5-bench" / "latency.json")["profile"]
    cases = read(run / "5-bench" / "latency.json")["cases"]
    assert [(case["case"], case["threads"]) for case in profile["cases"]] == [(c["case"], c["threads"]) for c in cases]
    pruned = set(load_file(run / "2-prune" / "masks.safetensors"))
    for case in profile["cases"]:
        layers = {name: layer for layer in case["layers"] for name in layer["weights"]}
        assert set(layers) >= pruned
        assert all(layers[name]["density"] == pytest.approx(0.2, abs=0.001) for name in pruned)
        kinds = {layers[name]["kind"] for name in pruned}
        assert kinds == ({"sparse"} if has_library() else {"dense"})
    assert bool(profile["peaks"]) == has_library()
    (line,) = [
        line for line in sdp("report", cwd=project, check=True).stdout.splitlines() if line.startswith("time, batch")
    ]
    assert "16 tokens" in line
    longest = max(profile["cases"], key=lambda case: case["tokens"])
    shares = {part["part"]: part["share"] for part in longest["parts"]}
    # A share below a hundredth is left out.
    assert ("attention" in line) == (shares["attention"] >= 0.01)
    page = (run / "report.html").read_text()
    assert "Where the time goes" in page
    assert page.count("1.attention.self.query, key, value") == (1 if has_library() else 0)


def test_predict_answers_from_the_exported_folder_alone(run: Path, project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "shipped"
    copy.mkdir()
    for name in ("model.onnx", "tokenizer.json", "config.json", "manifest.json"):
        (copy / name).write_bytes((run / "4-export" / name).read_bytes())
    for place in ("runs/toy", copy):
        label, probability = sdp("predict", place, "the film was superb", cwd=project, check=True).stdout.split()
        assert label in ("pos", "neg")
        assert 0.5 <= float(probability) <= 1
    answer = json.loads(sdp("predict", copy, "the film was superb", "--json", cwd=project, check=True).stdout)
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert len(sdp("predict", copy, "one", "two", cwd=project, check=True).stdout.splitlines()) == 2


@pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")
def test_the_example_of_the_docs_runs_in_the_shipped_folder(run: Path) -> None:
    code = DEPLOYMENT.partition("<!-- run in 8-ship -->\n```python\n")[2].partition("```")[0]
    assert len([line for line in code.splitlines() if line]) == 5
    example = code.replace("libsdp_operators.so", LIBRARY_NAME)
    command = [sys.executable, "-c", example]
    done = subprocess.run(command, cwd=run / "8-ship", capture_output=True, text=True, check=False)
    assert done.stdout.startswith("[array([["), done.stderr


@pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")
def test_the_example_of_the_docs_predicts_as_predict_does(run: Path) -> None:
    (code,) = re.findall(r"^```python\n(import json.*?)^```$", DEPLOYMENT, re.MULTILINE | re.DOTALL)
    example = code.replace("runs/quickstart/", "").replace("libsdp_operators.so", LIBRARY_NAME)
    done = subprocess.run([sys.executable, "-c", example], cwd=run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = [(label, float(share)) for label, share in (line.split() for line in done.stdout.splitlines())]
    (texts,) = re.findall(r"encode_batch\((.*?)\)$", code, re.MULTILINE)
    answers = [Predictor(run / "8-ship")(text) for text in ast.literal_eval(texts)]
    assert len(printed) == 2
    assert printed == [(answer.label, pytest.approx(answer.probability, abs=1e-5)) for answer in answers]


def test_inspect_shows_operators_and_sparsity(project: Path) -> None:
    done = sdp("inspect", "runs/toy/4-export/model.onnx", cwd=project, check=True)
    assert ("sdp.PackedAttention 2" if has_library() else "Attention 2") in done.stdout
    assert ("kernel" if has_library() else "coo") in done.stdout
    content = json.loads(sdp("inspect", "runs/toy/4-export/model.onnx", "--json", cwd=project, check=True).stdout)
    shares = {t["name"]: t["sparsity"] for t in content["tensors"]}
    assert shares["bert.encoder.layer.1.output.dense.weight"] == pytest.approx(0.8, abs=0.001)


def test_report_is_one_page_without_network(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert page.count("<svg") >= 8
    outside = page.replace("http://www.w3.org/", "")
    assert "http://" not in outside
    assert "src=" not in outside
    assert "verdict pass" in page


def test_gate_writes_verdict_junit_and_summary(run: Path) -> None:
    assert read(run / "6-gate" / "verdict.json")["verdict"] == "pass"
    assert "<testsuite " in (run / "6-gate" / "junit.xml").read_text()
    assert "max_size_ratio" in (run / "6-gate" / "summary.md").read_text()
