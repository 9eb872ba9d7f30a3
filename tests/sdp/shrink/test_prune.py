"""Pruning a file does what pruning the network in torch does, layer after layer."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper, shape_inference

from sdp.data.batches import Collator, TokenizedSplit, tokenize
from sdp.models.layers import prunable_weights
from sdp.models.load import load_pretrained
from sdp.models.source import ModelFolder
from sdp.models.tokenizer import load_tokenizer
from sdp.pipeline.progress import Reporter
from sdp.pruning.masks import Pattern
from sdp.pruning.one_shot import prune_at_once
from sdp.recipe.pruning import PruneSection
from sdp.shrink.layers import layer_groups
from sdp.shrink.prune import prune_graph
from sdp_onnx.export.pieces import PiecewiseRun
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.model.model_file import load_structure, stored_tensors
from sdp_onnx.runtimes.registry import default_runtime
from support.toy import toy_rows

ROWS = 48


@pytest.mark.parametrize(("pattern", "sparsity"), [("1x4", 0.5), ("unstructured", 0.6)])
def test_a_file_is_pruned_as_the_network_is(pattern: Pattern, sparsity: float, toy_model: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(toy_model)
    texts = [(text,) for text, _ in toy_rows(ROWS, seed=1)]
    rows = TokenizedSplit(tokenize(texts, tokenizer, 32), np.zeros(ROWS, dtype=np.int64))
    collator = Collator(tokenizer)
    folder, cpu = ModelFolder("toy", toy_model), torch.device("cpu")
    dense = load_pretrained(folder, "classification", ("a", "b"), cpu).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in dense.named_parameters():
            if name.endswith("bias"):
                # An exporter stores equal ones once.
                parameter.normal_(std=0.1)
    path = tmp_path / "model.onnx"
    export_torch(dense, path, input_names=tokenizer.inputs)
    model = load_structure(path)
    tensors = {stored.name: stored for stored in stored_tensors(model, path)}
    batches = [
        {
            name: values.numpy()
            for name, values in collator([rows[own] for own in part]).items()
            if name in tokenizer.inputs
        }
        for part in (range(20), range(20, ROWS))
    ]
    runs = [
        PiecewiseRun(model, tensors, [dict(batch) for batch in batches], default_runtime(), tmp_path) for _ in range(2)
    ]
    groups = layer_groups(model, tensors)
    assert [len(group.layers) for group in groups] == [3, 1, 1, 1] * 2
    prune_graph(runs[0], runs[1], groups, batches, sparsity, pattern, Reporter(quiet=True))

    expected = copy.deepcopy(dense)
    settings = PruneSection.model_validate(
        {"epochs": 0, "sparsity": sparsity, "pattern": pattern, "calibration_rows": ROWS}
    )
    masks = prune_at_once(expected, dense, rows, collator, settings, 0, Reporter(quiet=True))
    found = runs[1].weights
    same = [np.mean((found[name].T != 0) == mask.numpy()) for name, mask in masks.items()]
    # Rounding decides between weights that are nearly worth the same, and reaches later layers.
    assert min(same[:6]) > 0.99
    assert np.mean(same) > 0.97
    for place, (name, weight) in enumerate(prunable_weights(expected).items()):
        assert np.mean(found[name] == 0) == pytest.approx(sparsity, abs=0.01)
        difference = np.linalg.norm(found[name].T - weight.detach().numpy())
        assert place >= 4 or difference < 0.01 * np.linalg.norm(weight.detach().numpy())


def graph_of_two_heads() -> tuple[object, dict[str, object]]:
    """A matrix that two nodes share, one of its own, and one that makes the output."""
    rng = np.random.default_rng(0)
    shapes = {"shared": (8, 8), "own": (8, 8), "head": (8, 3)}
    weights = [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("MatMul", ["x", "shared"], ["a"]),
        helper.make_node("MatMul", ["a", "shared"], ["b"]),
        helper.make_node("MatMul", ["b", "own"], ["c"]),
        helper.make_node("MatMul", ["c", "head"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", "t", w]) for n, w in (("x", 8), ("y", 3)))
    graph = helper.make_graph(nodes, "graph", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), shapes


def test_shared_matrices_and_the_one_that_makes_the_output_stay(tmp_path: Path) -> None:
    model, _ = graph_of_two_heads()
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    tensors = {stored.name: stored for stored in stored_tensors(model, path)}
    groups = layer_groups(shape_inference.infer_shapes(model), tensors)
    assert [[layer.weight for layer in group.layers] for group in groups] == [["own"]]
