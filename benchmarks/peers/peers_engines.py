"""The engines that peers.py compares: which runtime runs which file of which pruned model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Runtime = Literal["onnxruntime", "openvino", "deepsparse"]
Pruning = Literal["unstructured", "1x4"]


@dataclass(frozen=True)
class Engine:
    """One engine with one model file.

    Attributes:
        name: in the JSON and on the command line.
        title: for people.
        runtime: what the worker process imports.
        file: in the folder of models.
        pruning: which of the two pruned models the file holds; its logits are compared with that model's.
        largest_error: of the logits, as a share of the largest one, before they count as wrong. Only int8 and bf16,
            whose error is the business of whoever chooses them, may differ visibly.
        operators: the session needs the operator library.
        static: the file is written anew for each shape, and the engine compiles it for that shape.
    """

    name: str
    title: str
    runtime: Runtime
    file: str
    pruning: Pruning
    largest_error: float
    operators: bool = False
    static: bool = False


_EXACT = 1e-3
# Far from what any of them shows; nearer to what logits of another input would give.
_ROUNDED = 0.5

ENGINES = {
    engine.name: engine
    for engine in (
        Engine("ort-fp32", "onnxruntime fp32, dense", "onnxruntime", "dense-unstructured.onnx", "unstructured", _EXACT),
        Engine("ort-int8", "onnxruntime int8 dynamic, dense", "onnxruntime", "ort-int8.onnx", "1x4", _ROUNDED),
        Engine("openvino", "OpenVINO, dense", "openvino", "openvino-fp32.xml", "unstructured", _ROUNDED),
        Engine("openvino-int8", "OpenVINO int8, dense", "openvino", "openvino-int8.xml", "1x4", _ROUNDED),
        Engine(
            "deepsparse-fp32",
            "DeepSparse fp32, 90 %",
            "deepsparse",
            "legacy-unstructured.onnx",
            "unstructured",
            _EXACT,
            static=True,
        ),
        Engine(
            "deepsparse-int8",
            "DeepSparse int8, 1x4 blocks 90 %",
            "deepsparse",
            "deepsparse-int8.onnx",
            "1x4",
            _ROUNDED,
            static=True,
        ),
        Engine("ours-fp32", "ours fp32, 90 %", "onnxruntime", "ours-fp32.onnx", "unstructured", _EXACT, operators=True),
        Engine(
            "ours-int8", "ours int8, 1x4 blocks 90 %", "onnxruntime", "ours-int8.onnx", "1x4", _ROUNDED, operators=True
        ),
    )
}

OURS = ("ours-fp32", "ours-int8")
