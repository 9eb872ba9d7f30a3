"""Export a transformers model to a dense ONNX file. Beside traced_graphs the only module that imports torch."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from onnx_ir.passes.common import CommonSubexpressionEliminationPass

from sdp_onnx.deploy.tokenization import INPUT_NAMES
from sdp_onnx.errors import ExportError
from sdp_onnx.export import traced_graphs
from sdp_onnx.export.other_outputs import OUTPUT_NAMES, Kind, add_other_outputs
from sdp_onnx.model.linear_layers import LoadArray, match_parameters
from sdp_onnx.model.writer import PROTOBUF_LIMIT, Entry, dense_entry, write_model

OPSET = 23

# The exporter treats a size of 0 or 1 as a constant.
_EXAMPLE_SHAPE = (2, 16)


def export_torch(
    model: torch.nn.Module,
    target: Path,
    *,
    input_names: Sequence[str],
    opset: int = OPSET,
    external_data_threshold: int = PROTOBUF_LIMIT,
    kind: Kind = "logits",
) -> None:
    """Write a transformers model to `target` as dense ONNX, in a folder that exists.

    Inputs are int64 [batch, sequence], both of any size; the output is `logits`, [batch, labels] for a classifier, in
    fp32 also where the model is in half precision.
    Each initializer that came from a parameter bears its name; a linear layer's weight is stored transposed,
    [in, out]. The model is exported on the CPU, in evaluation mode, and left in the mode in which it was.

    Args:
        input_names: the tokenizer's outputs (`tokenizer.model_input_names`); the model gets those that it takes.
        external_data_threshold: bytes of the .onnx file above which its tensors move to `<target>.data`.
        kind: what the model gives. A sentence encoder's output is `sentence_embedding`, [batch, size], and that of a
            network for question answering `logits`, [batch, sequence, 2]; both stand in the file once more under the
            names that other libraries read.

    Raises:
        ExportError: the model takes none of the inputs, or torch cannot express it in ONNX.
    """
    names = _accepted_inputs(model, input_names)
    with _evaluation(model):
        program, held = _export_program(model, names, opset, OUTPUT_NAMES[kind])
    try:
        _write_program(program, model, target, external_data_threshold, kind)
    finally:
        _let_go([*held, *program.model.graph.initializers.values()])


def _write_program(
    program: torch.onnx.ONNXProgram,
    model: torch.nn.Module,
    target: Path,
    external_data_threshold: int,
    kind: Kind,
) -> None:
    outputs = [value.name for value in program.model.graph.outputs]
    if outputs != [OUTPUT_NAMES[kind]]:
        raise ExportError(
            f"the model returns {len(outputs)} outputs instead of logits alone",
            where=type(model).__name__,
            hint="Switch output_hidden_states and output_attentions off in the model's config.json.",
        )
    loaders = {
        name: _loader(value.const_value.numpy)
        for name, value in program.model.graph.initializers.items()
        if value.const_value is not None
    }
    renamed = match_parameters(loaders, _parameters(model))
    skeleton = _skeleton(program)
    repeat_inputs(skeleton.graph)
    _return_fp32(skeleton.graph)
    add_other_outputs(skeleton.graph, kind)
    _rename(skeleton, renamed)
    entries = [_entry(renamed.get(name, name), load) for name, load in loaders.items()]
    write_model(skeleton, entries, target, external_data_threshold=external_data_threshold)


def _return_fp32(graph: GraphProto) -> None:
    """Convert the logits of a network in half precision, in place: who runs the file need not know of it."""
    output = graph.output[0]
    if output.type.tensor_type.elem_type != TensorProto.FLOAT16:
        return
    half = f"{output.name}/fp16"
    for node in graph.node:
        node.input[:] = [half if name == output.name else name for name in node.input]
        node.output[:] = [half if name == output.name else name for name in node.output]
    graph.node.append(helper.make_node("Cast", [half], [output.name], to=TensorProto.FLOAT))
    output.type.tensor_type.elem_type = TensorProto.FLOAT


def _let_go(values: Iterable[Any]) -> None:
    """Release the weights. The exporter's rewriting rules live as long as the process, and each refers to its last
    graph, which would keep the model in memory."""
    for value in values:
        value.const_value = None


def _accepted_inputs(model: torch.nn.Module, input_names: Sequence[str]) -> list[str]:
    accepted = inspect.signature(model.forward).parameters
    names = [name for name in INPUT_NAMES if name in input_names and name in accepted]
    if "input_ids" not in names:
        raise ExportError(
            f"the model takes no input_ids, or the tokenizer ({', '.join(input_names)}) gives none",
            where=type(model).__name__,
            hint="Only text encoders can be exported.",
        )
    return names


def _export_program(
    model: torch.nn.Module, names: Sequence[str], opset: int, output_name: str
) -> tuple[torch.onnx.ONNXProgram, list[Any]]:
    """Return the program, and the values of its graph that held weights before optimization."""
    held: list[Any] = []
    try:
        with _quiet():
            program = _traced(model, names, opset, output_name)
            if program is not None:
                # The graph keeps the originals of folded constants.
                held += program.model.graph.initializers.values()
                # A weight that several layers share is folded only where one node transposes it.
                CommonSubexpressionEliminationPass()(program.model)
                program.optimize()
    except Exception as error:  # the exporter wraps any exception of the model's code
        raise ExportError(
            f"torch cannot export the model: {_first_line(error)}",
            where=type(model).__name__,
            hint="The model's code does something that ONNX cannot express. Check that this architecture is supported, "
            "and that the installed torch and transformers are within the versions that pip would choose.",
        ) from error
    if program is None:
        raise ExportError("torch exported nothing", where=type(model).__name__)
    return program, held


def _traced(
    model: torch.nn.Module, names: Sequence[str], opset: int, output_name: str
) -> torch.onnx.ONNXProgram | None:
    """Return the program before its optimization; a structure is traced once a process."""
    key = traced_graphs.structure(model, *names, opset, output_name)
    if traced_graphs.is_kept(key):
        program = None
    else:
        program = torch.onnx.export(
            model,
            kwargs={name: torch.ones(_EXAMPLE_SHAPE, dtype=torch.int64) for name in names},
            dynamic_shapes={name: {0: "batch", 1: "sequence"} for name in names},
            input_names=list(names),
            output_names=[output_name],
            dynamo=True,
            opset_version=opset,
            verbose=False,
            optimize=False,
        )
        if program is not None:
            traced_graphs.keep(key, program.model, model)
    # The first file of a structure comes from the kept graph too: the same network gives the same bytes.
    graph = traced_graphs.with_weights(key, model)
    return program if graph is None else torch.onnx.ONNXProgram(graph, None)


def _skeleton(program: torch.onnx.ONNXProgram) -> ModelProto:
    """Return the graph without initializers and without the exporter's metadata of nodes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "skeleton.onnx")
        program.save(path, include_initializers=False)
        skeleton = onnx.load(path)
    graph = skeleton.graph
    for noted in (skeleton, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        noted.ClearField("metadata_props")
    return skeleton


def _rename(skeleton: ModelProto, renamed: dict[str, str]) -> None:
    for node in skeleton.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
    for value in skeleton.graph.value_info:
        value.name = renamed.get(value.name, value.name)


def _parameters(model: torch.nn.Module) -> dict[str, LoadArray]:
    return {name: _loader(parameter.detach().cpu().numpy) for name, parameter in model.named_parameters()}


def _loader(load: Callable[[], Any]) -> LoadArray:
    """Wrap a loader of a tensor of any library to return an array."""

    def as_array() -> NDArray[Any]:
        return np.asarray(load())

    return as_array


def _entry(name: str, load: LoadArray) -> Entry:
    array = load()
    data_type = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return dense_entry(name, data_type, array.shape, array.nbytes, lambda: (load(),))


@contextlib.contextmanager
def _evaluation(model: torch.nn.Module) -> Iterator[None]:
    """Set evaluation mode without gradients for the block; every module's mode is restored."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's progress, its warnings and its messages about missing packages."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _first_line(error: BaseException) -> str:
    """Return the innermost cause in one line; the exporter's own message is long and for its developers."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


_ONE = "fused/one"
_MASK = 3


def repeat_inputs(graph: GraphProto) -> None:
    """Repeat cosines, sines and masks to the sizes that RotaryEmbedding and Attention need, in place.

    RotaryEmbedding without position ids takes [batch, sequence, size / 2], and transformers provides one row;
    Attention takes a mask for each query, and some models provide one for all. The sizes are those of the graph's
    inputs, whose dimensions are named batch and sequence: queries and keys get no further reader.
    """
    types = {value.name: value for value in (*graph.value_info, *graph.input)}
    nodes: list[NodeProto] = []
    for node in graph.node:
        standard = node.domain == ""
        if standard and node.op_type == "RotaryEmbedding" and len(node.input) == 3:
            for place in (1, 2):
                nodes += _repeated(graph, node, place, ["batch", None, None])
        if standard and node.op_type == "Attention" and len(node.input) > _MASK and _is_for_all(types, node):
            nodes += _repeated(graph, node, _MASK, [None, None, "sequence", None])
        nodes.append(node)
    if len(nodes) == len(graph.node):
        return
    one = helper.make_node("Constant", [], [_ONE], value=numpy_helper.from_array(np.array([1], np.int64)))
    graph.ClearField("node")
    graph.node.extend([one, *nodes])


def _is_for_all(types: dict[str, ValueInfoProto], node: NodeProto) -> bool:
    """Whether the mask of an Attention is [batch, heads, 1, keys]."""
    value = types.get(node.input[_MASK])
    sizes = value.type.tensor_type.shape.dim if value is not None else []
    return len(sizes) == 4 and sizes[2].dim_value == 1


def _repeated(graph: GraphProto, node: NodeProto, place: int, sizes: Sequence[str | None]) -> Iterator[NodeProto]:
    """Yield nodes that repeat an input of `node` to sizes by their names; along other axes it stays as it is."""
    name = f"{node.output[0]}/input{place}"
    parts = []
    for size in sizes:
        parts.append(_ONE if size is None else f"{name}/{size}")
        if size is not None:
            source, axis = _dimension(graph, size)
            yield helper.make_node("Shape", [source], [parts[-1]], start=axis, end=axis + 1)
    yield helper.make_node("Concat", parts, [f"{name}/shape"], axis=0)
    yield helper.make_node("Expand", [node.input[place], f"{name}/shape"], [name])
    node.input[place] = name


def _dimension(graph: GraphProto, name: str) -> tuple[str, int]:
    """An input that has a dimension of this name, and its axis."""
    return next(
        (value.name, axis)
        for value in graph.input
        for axis, one in enumerate(value.type.tensor_type.shape.dim)
        if one.dim_param == name
    )
