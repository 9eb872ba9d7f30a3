"""Describe an ONNX file: inputs, outputs, operators, and the encoding of each tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from onnx import ModelProto, ValueInfoProto

from sdp_onnx.model.encodings import dtype_name
from sdp_onnx.model.model_file import TensorRecord, file_bytes, load_structure, stored_tensors
from sdp_onnx.model.opset import oldest_onnxruntime
from sdp_onnx.operators.kernel_weights import kernel_records


@dataclass(frozen=True)
class ValueSummary:
    """An input or output; a dimension without a fixed size has a name, or "?" without one."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class ModelSummary:
    """The summary of an ONNX file.

    Attributes:
        opset: version of each operator domain; the standard domain is ai.onnx.
        onnxruntime: the oldest release that reads the file; None where no known release does.
        producer: name and version of the exporter.
        metadata: the file's metadata_props.
        inputs: the inputs without initializers.
        outputs: the outputs.
        operators: number of nodes of each type in the main graph, most frequent first.
        tensors: each initializer; for a linear operator of the library its parameters instead.
        file_bytes: size on disk with external data.
    """

    opset: dict[str, int]
    onnxruntime: str | None
    producer: str
    metadata: dict[str, str]
    inputs: tuple[ValueSummary, ...]
    outputs: tuple[ValueSummary, ...]
    operators: dict[str, int]
    tensors: tuple[TensorRecord, ...]
    file_bytes: int

    def to_json(self) -> dict[str, object]:
        """Return the summary as JSON types, with each tensor's sparsity."""
        tensors = [asdict(tensor) | {"sparsity": tensor.sparsity} for tensor in self.tensors]
        return asdict(self) | {"tensors": tensors}


def inspect_model(path: Path) -> ModelSummary:
    """Summarize a file and its external data, reading one tensor at a time.

    Raises:
        ModelFileError: the file is missing, damaged, or refers to data outside its folder.
    """
    model = load_structure(path)
    initializers = {stored.name: stored for stored in stored_tensors(model, path)}
    inside, holders = kernel_records(model, initializers)
    tensors = (*(stored.record() for name, stored in initializers.items() if name not in holders), *inside)
    return ModelSummary(
        opset={opset.domain or "ai.onnx": opset.version for opset in model.opset_import},
        onnxruntime=oldest_onnxruntime(model),
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        metadata={entry.key: entry.value for entry in model.metadata_props},
        inputs=_values(value for value in model.graph.input if value.name not in initializers),
        outputs=_values(model.graph.output),
        operators=_count_operators(model),
        tensors=tensors,
        file_bytes=file_bytes(path),
    )


def _count_operators(model: ModelProto) -> dict[str, int]:
    names = (f"{node.domain}.{node.op_type}" if node.domain else node.op_type for node in model.graph.node)
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _values(values: Iterable[ValueInfoProto]) -> tuple[ValueSummary, ...]:
    return tuple(
        ValueSummary(
            value.name,
            dtype_name(value.type.tensor_type.elem_type),
            tuple(
                dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
                for dim in value.type.tensor_type.shape.dim
            ),
        )
        for value in values
    )
