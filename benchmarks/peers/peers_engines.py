"""The engines that peers.py compares: which runtime runs which file of which pruned model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Runtime = Literal["onnxruntime", "openvino", "deepsparse"]
Pruning = Literal["unstructured", "1x4"]
Precision = Literal["fp32", "int8"]


@dataclass(frozen=True)
class Weights:
    """The random model with a share of its encoder's weights zero.

    Attributes:
        pattern: which zeros stand together.
        percent: of the weights that are zero.
    """

    pattern: Pruning
    percent: int

    @property
    def name(self) -> str:
        """The part of a file's name that these weights have."""
        return f"{self.pattern}-{self.percent}"


@dataclass(frozen=True)
class Engine:
    """One engine with one model file.

    Attributes:
        name: in the JSON and on the command line.
        title: for people.
        runtime: what the worker process imports.
        file: in the folder of models.
        weights: the pruned model in the file; its logits are compared with that model's.
        largest_error: of the logits, as a share of the largest one, before they count as wrong. Only int8 and bf16,
            whose error is the business of whoever chooses them, may differ visibly.
        operators: the session needs the operator library.
        static: the file is written anew for each shape, and the engine compiles it for that shape.
    """

    name: str
    title: str
    runtime: Runtime
    file: str
    weights: Weights
    largest_error: float
    operators: bool = False
    static: bool = False


_EXACT = 1e-3
# Far from what any of them shows; nearer to what logits of another input would give.
_ROUNDED = 0.5

# What the peers run. Zeros change the time of DeepSparse alone, which gets as many as it was made for.
FP32, INT8 = Weights("unstructured", 90), Weights("1x4", 90)
# What ours run: in fp32 from where it gains, in int8 from none.
FP32_PERCENT, INT8_PERCENT = (70, 80, 90, 95), (0, 50, 60, 70, 80, 90, 95)


def ours(precision: Precision, percent: int) -> str:
    """Return the name of our engine for a precision and a share of zeros."""
    return f"ours-{precision}-{percent}"


def _ours(precision: Precision, weights: Weights) -> Engine:
    name = ours(precision, weights.percent)
    blocks = " in 1x4 blocks" if weights.pattern == "1x4" and weights.percent else ""
    title = f"sdp {precision}, {f'{weights.percent} % zeros{blocks}' if weights.percent else 'dense'}"
    error = _EXACT if precision == "fp32" else _ROUNDED
    return Engine(name, title, "onnxruntime", f"{name}.onnx", weights, error, operators=True)


def _named(*engines: Engine) -> dict[str, Engine]:
    return {engine.name: engine for engine in engines}


ENGINES = _named(
    Engine("ort-fp32", "onnxruntime fp32", "onnxruntime", f"dense-{FP32.name}.onnx", FP32, _EXACT),
    Engine("ort-int8", "onnxruntime int8, dynamic", "onnxruntime", "ort-int8.onnx", INT8, _ROUNDED),
    Engine("ort-int8-static", "onnxruntime int8, static", "onnxruntime", "ort-int8-static.onnx", INT8, _ROUNDED),
    Engine("openvino", "OpenVINO", "openvino", "openvino-fp32.xml", FP32, _ROUNDED),
    Engine("openvino-int8", "OpenVINO int8", "openvino", "openvino-int8.xml", INT8, _ROUNDED),
    Engine(
        "deepsparse-fp32",
        "DeepSparse fp32, 90 % zeros",
        "deepsparse",
        f"legacy-{FP32.name}.onnx",
        FP32,
        _EXACT,
        static=True,
    ),
    Engine(
        "deepsparse-int8",
        "DeepSparse int8, 90 % zeros in 1x4 blocks",
        "deepsparse",
        "deepsparse-int8.onnx",
        INT8,
        _ROUNDED,
        static=True,
    ),
    *(_ours("fp32", Weights("unstructured", percent)) for percent in FP32_PERCENT),
    *(_ours("int8", Weights("1x4", percent)) for percent in INT8_PERCENT),
)

OURS = tuple(name for name, engine in ENGINES.items() if engine.operators)


def reference_file(folder: Path, weights: Weights, rows: int, length: int | str) -> Path:
    """Return where a batch and torch's logits of it are."""
    return folder / f"reference-{weights.name}-{rows}x{length}.npz"
