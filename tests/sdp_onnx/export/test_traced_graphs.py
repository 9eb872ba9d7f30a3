"""A structure is traced once: which networks are of one structure, and what a file from a kept graph holds."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import pytest
import torch
from onnx import numpy_helper

from sdp.models.architectures import ARCHITECTURES
from sdp_onnx.deploy.verify import verify_logits
from sdp_onnx.export import traced_graphs
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.export.traced_graphs import structure
from support.tiny_models import tiny_model

INPUTS = ("input_ids", "attention_mask")
KINDS = [row.model_type for row in ARCHITECTURES if not row.refused]
# Exporting takes seconds each.
QUICK = ("bert",)


@pytest.fixture(autouse=True)
def none_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traced_graphs, "_graphs", type(traced_graphs._graphs)())


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The networks that torch traced."""
    names: list[str] = []
    export = torch.onnx.export

    def counted(model: Any, *arguments: Any, **options: Any) -> Any:
        names.append(type(model).__name__)
        return export(model, *arguments, **options)

    monkeypatch.setattr(torch.onnx, "export", counted)
    return names


def other_weights(kind: str) -> Any:
    model = tiny_model(kind, sparsity=0.5)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * (parameter != 0) * 0.1)
    return model


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_a_file_from_a_kept_graph_is_that_of_a_trace(kind: str, tmp_path: Path, traces: list[str]) -> None:
    export_torch(tiny_model(kind), tmp_path / "first.onnx", input_names=INPUTS)
    model = other_weights(kind)
    export_torch(model, tmp_path / "kept.onnx", input_names=INPUTS)
    assert len(traces) == 1 + (structure(model) is None)
    traced_graphs._graphs.clear()
    export_torch(model, tmp_path / "traced.onnx", input_names=INPUTS)
    kept, traced = ((tmp_path / name).read_bytes() for name in ("kept.onnx", "traced.onnx"))
    assert kept == traced
    assert kept != (tmp_path / "first.onnx").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_networks_that_differ_in_weights_alone_are_of_one_structure(kind: str) -> None:
    # ESM's rotary embedding stores its last tables as attributes.
    assert (structure(tiny_model(kind)) is None) == (kind == "esm")
    assert structure(tiny_model(kind)) == structure(other_weights(kind))


def changed(change: Callable[[Any], Any]) -> Any:
    model = tiny_model("bert")
    change(model)
    return model


def tie(model: Any) -> None:
    first, second = model.bert.encoder.layer
    second.output.dense.weight = first.output.dense.weight


def tie_layers(model: Any) -> None:
    model.bert.encoder.layer[1] = model.bert.encoder.layer[0]


CHANGES: dict[str, Callable[[Any], Any]] = {
    "heads": lambda model: setattr(model.bert.encoder.layer[1].attention.self, "num_attention_heads", 4),
    "epsilon": lambda model: setattr(model.bert.embeddings.LayerNorm, "eps", 1e-3),
    "activation": lambda model: setattr(
        model.bert.encoder.layer[0].intermediate, "intermediate_act_fn", torch.nn.ReLU()
    ),
    "function": lambda model: setattr(model.bert, "note", torch.nn.functional.gelu),
    "function's arguments": lambda model: setattr(model.bert, "note", functools.partial(torch.softmax, dim=1)),
    "config": lambda model: model.config.update({"chunk_size_feed_forward": 2}),
    "attention": lambda model: model.set_attn_implementation("eager"),
    "labels": lambda model: setattr(model, "classifier", torch.nn.Linear(16, 5)),
    "no bias": lambda model: setattr(model.classifier, "bias", None),
    "half precision": lambda model: model.half(),
    "a matrix of two layers": tie,
    "a layer in two places": tie_layers,
    "fewer layers": lambda model: model.bert.encoder.layer.__delitem__(1),
    "a buffer": lambda model: model.register_buffer("note", torch.zeros(3)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_structure(change: str) -> None:
    same = structure(tiny_model("bert"))
    other = structure(changed(CHANGES[change]))
    assert same is not None
    assert other is not None
    assert other != same


def test_inputs_and_opset_are_of_the_structure(tmp_path: Path, traces: list[str]) -> None:
    model = tiny_model("bert")
    assert structure(model, *INPUTS, 23) == structure(tiny_model("bert"), *INPUTS, 23)
    assert len({structure(model, *given) for given in ((*INPUTS, 23), (*INPUTS, 21), ("input_ids", 23))}) == 3
    names = ("input_ids", "token_type_ids", "attention_mask")
    for given, opset in ((INPUTS, 23), (names, 21)):
        export_torch(model, tmp_path / "m.onnx", input_names=given, opset=opset)
        file = onnx.load(tmp_path / "m.onnx")
        assert {value.name for value in file.graph.input} == set(given)
        assert file.opset_import[0].version == opset
    assert len(traces) == 2


def test_where_weights_came_from_is_not() -> None:
    model = tiny_model("bert")
    model.name_or_path = model.config.name_or_path = "elsewhere"
    assert structure(model) == structure(tiny_model("bert"))


CUSTOM: dict[str, Callable[[Any], Any]] = {
    "a hook": lambda model: model.bert.pooler.register_forward_hook(lambda *_: None),
    "a hook before": lambda model: model.bert.pooler.register_forward_pre_hook(lambda *_: None),
    "a tensor": lambda model: setattr(model.bert, "note", torch.zeros(3)),
    "another forward": lambda model: setattr(model.bert.pooler, "forward", model.bert.pooler.forward),
    "a closure": lambda model: setattr(model.bert.pooler, "note", lambda: model),
}


@pytest.mark.parametrize("change", CUSTOM)
def test_what_is_not_known_is_traced_each_time(change: str) -> None:
    assert structure(changed(CUSTOM[change])) is None


def test_tensors_that_were_equal_in_the_first_network(tmp_path: Path, traces: list[str]) -> None:
    """The exporter stores equal small tensors once: what it made of one network's zeros is not for the next."""
    model = tiny_model("bert")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    export_torch(model, tmp_path / "zeros.onnx", input_names=INPUTS)
    model = other_weights("bert")
    export_torch(model, tmp_path / "m.onnx", input_names=INPUTS)
    assert len(traces) == 1
    feed = {"input_ids": np.arange(10, 26).reshape(2, 8), "attention_mask": np.ones((2, 8), np.int64)}
    with torch.no_grad():
        logits = model.eval()(**{name: torch.from_numpy(array) for name, array in feed.items()}).logits.numpy()
    assert verify_logits(tmp_path / "m.onnx", [(feed, logits)], tolerance=1e-5).rows == 2
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(tmp_path / "m.onnx").graph.initializer}
    assert {name for name, _ in model.named_parameters()} <= stored.keys()


def test_weights_are_not_kept(tmp_path: Path) -> None:
    model = tiny_model("bert")
    export_torch(model, tmp_path / "m.onnx", input_names=INPUTS)
    assert traced_graphs.is_kept(structure(model, *INPUTS, 23, "logits"))
    weight = weakref.ref(model.classifier.weight)
    del model
    gc.collect()
    assert weight() is None


def graph_with(constants: int) -> onnx_ir.Model:
    """A graph with so many bytes that are no weights."""
    table = onnx_ir.Value(name="table", const_value=onnx_ir.tensor(np.zeros(constants, np.uint8), name="table"))
    graph = onnx_ir.Graph([], [], nodes=[], initializers=[table], opset_imports={"": 23}, name="graph")
    return onnx_ir.Model(graph, ir_version=10)


def test_few_graphs_are_kept_and_none_with_many_constants() -> None:
    model = torch.nn.Linear(2, 2)
    for number in range(10):
        traced_graphs.keep(str(number), graph_with(constants=8), model)
    assert list(traced_graphs._graphs) == ["6", "7", "8", "9"]
    assert traced_graphs.with_weights("6", model) is not None
    traced_graphs.keep("large", graph_with(constants=(1 << 20) + 1), model)
    traced_graphs.keep("small", graph_with(constants=1 << 20), model)
    # The one that was asked for last stays.
    assert list(traced_graphs._graphs) == ["8", "9", "6", "small"]
    traced_graphs.keep(None, graph_with(constants=8), model)
    assert len(traced_graphs._graphs) == 4
