"""Hostile ONNX files: bytes, graphs, tensors, data outside the folder, sparse tensors, operators of the library."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from hostile_folders import Project
from hostile_graph import damage_attributes, damage_graph
from hostile_judge import QuietError, command, strict_json
from hostile_tensor import DIMENSIONS, damage_tensor, place_content
from hostile_values import damaged_bytes

Use = Callable[[], object]


def onnx_case(random: Random, folder: Path, project: Project) -> Use:
    """A damaged file: looked into, encoded, or run."""
    path = folder / "model.onnx"
    how = random.choice([_bytes, _graph, _graph, _tensors, _outside, _sparse, _library, _library])
    how(random, path, project)
    use = random.choice([_inspect, _inspect, _run, _run, _encode, _zeros])
    return lambda: use(path)


@lru_cache(maxsize=1)
def dense_model(path: Path) -> bytes:
    """A file without operators of the library, as torch exports it: the toy model."""
    from sdp.models.load import load_finetuned
    from sdp_onnx.export.torch_export import export_torch

    target = path / "dense.onnx"
    if not target.is_file():
        export_torch(load_finetuned(path / "runs/toy/2-prune"), target, input_names=("input_ids", "attention_mask"))
    return target.read_bytes()


def _source(random: Random, project: Project) -> bytes:
    return project.model_bytes if random.random() < 0.5 else dense_model(project.path)


def _bytes(random: Random, path: Path, project: Project) -> None:
    path.write_bytes(damaged_bytes(random, _source(random, project)))


def _graph(random: Random, path: Path, project: Project) -> None:
    model = onnx.load_from_string(_source(random, project))
    for _ in range(random.choice([1, 1, 2, 4])):
        damage_graph(random, model)
    path.write_bytes(model.SerializeToString())


def _tensors(random: Random, path: Path, project: Project) -> None:
    model = onnx.load_from_string(_source(random, project))
    for _ in range(random.choice([1, 1, 2])):
        damage_tensor(random, random.choice(model.graph.initializer))
    path.write_bytes(model.SerializeToString())


def _outside(random: Random, path: Path, project: Project) -> None:
    """Tensors whose content lies in a file: not there, outside the folder, a link, too short, or a device."""
    model = onnx.load_from_string(_source(random, project))
    tensor = max(model.graph.initializer, key=lambda own: len(own.raw_data))
    content = tensor.raw_data
    secret = path.parent.parent / f"{path.parent.name}.secret"
    secret.write_bytes(content)
    location = place_content(random, path.parent, secret)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": "0", "length": str(len(content))}
    if random.random() < 0.4:
        key = random.choice(["offset", "length", "location", "checksum", "basepath", "x"])
        entries[key] = random.choice(["-1", "x", "", str(2**63), str(10**6), "1", "9" * 5000])
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    if random.random() < 0.1:
        tensor.external_data.add(key="location", value="../again")
    path.write_bytes(model.SerializeToString())


def _sparse(random: Random, path: Path, project: Project) -> None:
    """COO tensors whose positions are wrong."""
    from sdp_onnx.export.encode import encode_model

    source = path.with_name("dense.onnx")
    source.write_bytes(dense_model(project.path))
    encode_model(source, path, encoding="auto", metadata={})
    source.unlink()
    model = onnx.load(path)
    sparse = random.choice(model.graph.sparse_initializer)
    positions = numpy_helper.to_array(sparse.indices).copy()
    kind = random.randrange(10)
    if kind == 0:
        positions[random.randrange(positions.size)] = random.choice(
            [-1, 2**31, 2**62, -(2**63), positions.max() + 10**6]
        )
    elif kind == 1:
        positions = positions[::-1].copy()
    elif kind == 2:
        positions[1] = positions[0]
    elif kind == 3:
        positions = positions[: random.randrange(positions.size)]
    elif kind == 4:
        positions = positions.reshape(-1, 1)
    elif kind == 5:
        positions = np.stack([positions, positions], 1)
    elif kind == 6:
        positions = positions.astype(random.choice([np.int32, np.float32, np.uint8]))
    elif kind == 7:
        sparse.dims[random.randrange(len(sparse.dims))] = random.choice(DIMENSIONS)
    elif kind == 8:
        damage_tensor(random, random.choice([sparse.values, sparse.indices]))
    else:
        del sparse.dims[:]
    if kind not in (7, 8, 9):
        sparse.indices.CopyFrom(numpy_helper.from_array(positions))
    path.write_bytes(model.SerializeToString())


def _library(random: Random, path: Path, project: Project) -> None:
    """Operators of the library whose tensors, attributes or inputs contradict each other."""
    model = onnx.load_from_string(project.model_bytes)
    node = random.choice([node for node in model.graph.node if node.domain])
    for _ in range(random.choice([1, 1, 2])):
        kind = random.randrange(4)
        inside = [tensor for tensor in model.graph.initializer if tensor.name in node.input]
        if kind == 0 and inside:
            damage_tensor(random, random.choice(inside))
        elif kind == 1 and inside:
            tensor = random.choice(inside)
            array = numpy_helper.to_array(tensor)
            cut = array[: random.randrange(len(array) + 1)] if array.ndim and len(array) else array
            tensor.CopyFrom(numpy_helper.from_array(cut, tensor.name))
        elif kind == 2:
            damage_attributes(random, model)
        elif len(node.input) > 1:
            first, second = random.randrange(len(node.input)), random.randrange(len(node.input))
            node.input[first], node.input[second] = node.input[second], node.input[first]
    path.write_bytes(model.SerializeToString())


def _inspect(path: Path) -> None:
    _, output = command("inspect", path, "--json")
    for tensor in strict_json(output)["tensors"]:
        if not 0 <= tensor["zeros"] <= max(0, tensor["elements"]):
            raise QuietError(f"{tensor['zeros']} zeros of {tensor['elements']}")
    command("inspect", path)


def _zeros(path: Path) -> None:
    from sdp_onnx.deploy.verify import zeros_by_tensor
    from sdp_onnx.model.model_file import check_file, file_bytes

    check_file(path)
    for zeros, elements in zeros_by_tensor(path).values():
        if not 0 <= zeros <= elements:
            raise QuietError(f"{zeros} zeros of {elements}")
    file_bytes(path)


def _run(path: Path) -> None:
    """As `sdp predict` and `sdp bench` do it; what the operators do with a graph, a status must say."""
    from sdp_onnx.runtimes.registry import default_runtime

    model = default_runtime().load(path)
    ids = np.array([[2, 7, 9, 11, 3]], np.int64)
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    model.run({name: inputs.get(name, ids) for name in model.input_names})


def _encode(path: Path) -> None:
    from sdp_onnx.deploy.verify import zeros_by_tensor
    from sdp_onnx.export.encode import encode_model

    before = None
    try:
        before = zeros_by_tensor(path)
    finally:
        folder = path.parent / "encoded"
        folder.mkdir(exist_ok=True)
        for encoding in ("auto", "kernel"):
            encode_model(path, folder / "model.onnx", encoding=encoding, metadata={"key": "value"})
            after = zeros_by_tensor(folder / "model.onnx")
            common = before.keys() & after.keys() if before is not None else set()
            if before is not None and any(before[name] != after[name] for name in common):
                raise QuietError("other zeros after encoding")
        shutil.rmtree(folder)
