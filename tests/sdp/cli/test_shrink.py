"""`sdp shrink` on real files, through the real command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from sdp.models.load import load_finetuned
from sdp_onnx.deploy.verify import zeros_by_tensor
from sdp_onnx.export.encode import encode_model
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.operators.library import LIBRARY_NAME, has_library
from sdp_onnx.runtimes.registry import default_runtime
from support.toy import sdp, toy_rows

LIBRARY_ONLY = pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")
FAST = ("--rows", "40", "--max-length", "32")


@pytest.fixture(scope="module")
def made(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fine-tuned toy as a dense file, with its tokenizer and texts."""
    folder = tmp_path_factory.mktemp("shrink")
    tuned = finished / "runs/toy/1-finetune"
    names = ("input_ids", "attention_mask", "token_type_ids")
    export_torch(load_finetuned(tuned).eval(), folder / "dense.onnx", input_names=names)
    shutil.copy(tuned / "tokenizer.json", folder)
    (folder / "texts.txt").write_text("".join(f"{text}\n" for text, _ in toy_rows(120, seed=5)))
    return folder


def shrink(made: Path, out: Path, *options: str, model: str = "dense.onnx", check: bool = True) -> Any:
    arguments = ["shrink", str(made / model), "--texts", str(made / "texts.txt"), "--out", str(out), *FAST, *options]
    return sdp(*arguments, cwd=out.parent, check=check)


@LIBRARY_ONLY
def test_in_int8_with_blocks_of_zeros(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "small"
    out.parent.mkdir()
    done = shrink(made, out, "--sparsity", "0.5", "--json")
    report = json.loads(done.stdout)
    assert report == json.loads((out / "shrink.json").read_text())
    assert report["layers"] == 12
    assert report["zeros"] == pytest.approx(0.5, abs=0.01)
    assert report["measured_rows"] == 40
    assert report["agreement"]["rows"] >= 70
    assert report["agreement"]["same_predictions"] > 0.9
    assert report["bytes"] == (out / "model.onnx").stat().st_size
    assert {path.name for path in out.iterdir()} == {"model.onnx", "shrink.json", "tokenizer.json", LIBRARY_NAME}
    zeros = zeros_by_tensor(out / "model.onnx")
    own = {name: count for name, count in zeros.items() if ".layer." in name and name.endswith("weight")}
    assert own
    assert sum(part for part, _ in own.values()) >= 0.49 * sum(whole for _, whole in own.values() if whole > 100)
    # Nothing is left beside the folder.
    assert [path.name for path in out.parent.iterdir()] == ["small"]


@LIBRARY_ONLY
def test_by_default_no_weight_becomes_zero(made: Path, tmp_path: Path) -> None:
    done = shrink(made, tmp_path / "small")
    assert "dense.onnx: int8" in done.stdout
    report = json.loads((tmp_path / "small/shrink.json").read_text())
    assert (report["sparsity"], report["zeros"], report["layers"]) == (0, 0, 12)
    assert report["agreement"]["same_predictions"] > 0.98
    expected = tmp_path / "expected.onnx"
    encode_model(made / "dense.onnx", expected, encoding="kernel", precision="int8", metadata={})
    assert zeros_by_tensor(tmp_path / "small/model.onnx") == zeros_by_tensor(expected)


def test_in_fp32_any_weight(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    done = shrink(made, out, "--precision", "fp32", "--pattern", "unstructured", "--sparsity", "0.7")
    assert "70% of 12 matrices are zeros (unstructured), fp32" in done.stdout
    assert "of predictions are equal" in done.stdout
    assert "score it on labelled rows" in done.stdout
    zeros = zeros_by_tensor(out / "model.onnx")
    found, size = zeros["bert.encoder.layer.0.output.dense.weight"]
    assert found / size == pytest.approx(0.7, abs=0.01)
    assert zeros["classifier.weight"][0] == 0
    # The same draw of texts gives the same file.
    again = tmp_path / "again"
    shrink(made, again, "--precision", "fp32", "--pattern", "unstructured", "--sparsity", "0.7", "--quiet")
    assert (again / "model.onnx").read_bytes() == (out / "model.onnx").read_bytes()


@pytest.mark.filterwarnings("ignore:Converting a tensor", "ignore:Exporting aten")
def test_a_file_of_another_exporter(finished: Path, made: Path, tmp_path: Path) -> None:
    """torch's own exporter, with names and shapes of its own: without zeros it computes the same."""
    folder = tmp_path / "plain"
    shutil.copytree(made, folder)
    model = load_finetuned(finished / "runs/toy/1-finetune").eval()
    ids = torch.ones(2, 6, dtype=torch.int64)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    torch.onnx.export(
        model,
        (ids, ids, torch.zeros_like(ids)),
        folder / "other.onnx",
        input_names=names,
        output_names=["logits"],
        dynamic_axes={name: {0: "rows", 1: "tokens"} for name in names},
        opset_version=17,
        dynamo=False,
    )
    out = tmp_path / "small"
    shrink(folder, out, "--precision", "fp32", "--sparsity", "0.0", model="other.onnx")
    report = json.loads((out / "shrink.json").read_text())
    assert report["layers"] == 12
    assert report["agreement"]["same_predictions"] == 1
    assert report["agreement"]["relative_difference"] < 1e-4


def test_too_few_equal_predictions_make_no_file(made: Path, tmp_path: Path) -> None:
    options = ("--precision", "fp32", "--sparsity", "0.99", "--min-same", "1.0")
    done = shrink(made, tmp_path / "small", *options, check=False)
    assert done.returncode == 1
    assert "of the predictions are equal, and --min-same is 100.0%" in done.stderr
    assert list(tmp_path.iterdir()) == []


def not_an_encoder(path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 4]) for name in "xy")
    graph = helper.make_graph(nodes, "graph", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), path)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("nowhere.onnx", (), "there is no such file"),
        ("texts.txt", (), "not an ONNX model"),
        ("relu.onnx", (), "no linear layers on tokens are found"),
        ("dense.onnx", ("--column", "text"), "a txt file has no columns"),
        ("dense.onnx", ("--tokenizer", "."), "tokenizer"),
        ("dense.onnx", ("--sparsity", "1.5"), "--sparsity"),
    ],
)
def test_a_mistake_is_one_error(model: str, options: tuple[str, ...], words: str, made: Path, tmp_path: Path) -> None:
    not_an_encoder(made / "relu.onnx")
    done = shrink(made, tmp_path / "small", "--precision", "fp32", *options, model=model, check=False)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@LIBRARY_ONLY
def test_a_file_with_the_librarys_operators_is_refused(made: Path, tmp_path: Path) -> None:
    encode_model(made / "dense.onnx", made / "int8.onnx", encoding="kernel", precision="int8", metadata={})
    done = shrink(made, tmp_path / "small", model="int8.onnx", check=False)
    assert done.returncode == 2
    assert "it has operators of the library already" in done.stderr


def test_a_folder_that_exists_stays_as_it_is(made: Path, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    done = shrink(made, tmp_path / "small", "--precision", "fp32", check=False)
    assert done.returncode == 2
    assert "it exists already" in done.stderr
    assert list((tmp_path / "small").iterdir()) == []


def test_an_encoder_without_a_head_is_compared_by_its_vectors(finished: Path, made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    shutil.copytree(made, folder)
    model = onnx.load(made / "dense.onnx")
    norms = [node.output[0] for node in model.graph.node if node.op_type == "LayerNormalization"]
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(norms[-1], TensorProto.FLOAT, ["rows", "tokens", 32]))
    onnx.save(model, folder / "encoder.onnx")
    options = ("--precision", "fp32", "--sparsity", "0.3", "--pattern", "unstructured")
    shrink(folder, tmp_path / "small", *options, model="encoder.onnx")
    report = json.loads((tmp_path / "small/shrink.json").read_text())
    assert "same_predictions" not in report["agreement"]
    assert 0.9 < report["agreement"]["cosine"] <= 1
    refused = shrink(folder, tmp_path / "other", *options, "--min-same", "0.9", model="encoder.onnx", check=False)
    assert refused.returncode == 2
    assert "predictions are those of" in refused.stderr
    output = (
        default_runtime()
        .load(tmp_path / "small/model.onnx")
        .run({name: np.ones((1, 5), dtype=np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")})
    )
    assert output.shape == (1, 5, 32)
