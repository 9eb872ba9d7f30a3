"""Run a graph piece by piece on some batches: weights may change between two pieces, and no node runs twice.

What a layer gets is known when the pieces before it have run, and what it gives when its own piece runs, with the
weights that it has by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from sdp_onnx.model.model_file import StoredTensor
from sdp_onnx.model.writer import PROTOBUF_LIMIT, message_entry, write_model
from sdp_onnx.runtimes.base import Runtime

Values = dict[str, NDArray[Any]]


@dataclass
class PiecewiseRun:
    """A graph on its way through its nodes, which are in an order in which they can run.

    Attributes:
        model: its structure, without control flow.
        tensors: its initializers by name.
        values: of each batch, the values that are known and still needed: the inputs at first.
        runtime: runs the pieces.
        work: a folder for files of pieces.
        threads: of one operator; the runtime's choice without it.
        weights: initializers that have other values than in the file.
    """

    model: ModelProto
    tensors: Mapping[str, StoredTensor]
    values: list[Values]
    runtime: Runtime
    work: Path
    threads: int | None = None
    weights: Values = field(default_factory=dict)
    _done: int = 0

    def advance(self, stop: int | None = None) -> None:
        """Run the nodes that have not run yet, up to the one at position `stop`, or all.

        Raises:
            ModelFileError: the runtime refuses a piece.
            ModelRunError: a node fails.
        """
        nodes = self.model.graph.node
        piece = list(nodes[self._done : stop])
        self._done = len(nodes) if stop is None else stop
        needed = {name for node in nodes[self._done :] for name in node.input}
        needed |= {value.name for value in self.model.graph.output}
        made = {name for node in piece for name in node.output if name}
        outputs = sorted(made & needed)
        if outputs:
            self._run(piece, outputs)
        self.values = [{name: array for name, array in own.items() if name in needed} for own in self.values]

    def _run(self, piece: Sequence[NodeProto], outputs: Sequence[str]) -> None:
        made = {name for node in piece for name in node.output}
        read = {name for node in piece for name in node.input if name} - made
        stored = sorted(read & self.tensors.keys())
        given = sorted(read - self.tensors.keys())
        path = self.work / "piece.onnx"
        self._write(piece, [(name, self.values[0][name]) for name in given], outputs, stored, path)
        loaded = self.runtime.load(path, threads=self.threads, library="none")
        for own in self.values:
            own.update(loaded.outputs({name: own[name] for name in given}))

    def _write(
        self,
        piece: Sequence[NodeProto],
        inputs: Sequence[tuple[str, NDArray[Any]]],
        outputs: Sequence[str],
        stored: Sequence[str],
        path: Path,
    ) -> None:
        skeleton = ModelProto(ir_version=self.model.ir_version)
        skeleton.opset_import.extend(self.model.opset_import)
        skeleton.functions.extend(self.model.functions)
        skeleton.graph.name = "piece"
        skeleton.graph.node.extend(piece)
        for name, array in inputs:
            # Batches differ in their sizes.
            element = helper.np_dtype_to_tensor_dtype(array.dtype)
            skeleton.graph.input.append(helper.make_tensor_value_info(name, element, [None] * array.ndim))
        skeleton.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in outputs)
        entries = [message_entry(self._tensor(name)) for name in stored]
        path.with_name(f"{path.name}.data").unlink(missing_ok=True)
        write_model(skeleton, entries, path, external_data_threshold=PROTOBUF_LIMIT)

    def _tensor(self, name: str) -> Any:
        if name in self.weights:
            return numpy_helper.from_array(np.ascontiguousarray(self.weights[name]), name)
        return self.tensors[name].inline_message()
