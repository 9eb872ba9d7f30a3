"""Make the files that peers.py runs: one random XLM-R, pruned in two patterns, exported for each runtime.

    python benchmarks/peers/peers_models.py FOLDER --size base --shape 1x128 --shape 32xsst2 --engine ort-fp32

A process of its own, because torch and the model would otherwise stay in the memory of the process that times the
others. Files that are there already are kept: empty the folder after a change of the exporter.

The weights are random, since time depends on shapes and zeros alone; with a standard deviation of 0.05, instead of the
usual 0.02, so that after pruning attention still attends and a wrong engine gives visibly wrong logits.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

from peers_engines import ENGINES, FP32, INT8, Engine, Pruning, Weights, reference_file
from peers_inputs import INPUTS, PADDING, SIZES, SPECIAL, Inputs, batch_inputs, random_inputs
from peers_lengths import QUANTILES
from peers_onnxruntime import quantize as quantize_dynamic
from sdp.models.layers import prunable_weights
from sdp.pruning.masks import Masks, apply_masks, select_masks
from sdp.pruning.scores import magnitude_scores
from sdp_onnx.export.encode import encode_model
from sdp_onnx.export.kernel_choice import Precision
from sdp_onnx.export.torch_export import export_torch

SPARSITY = 0.9


# What DeepSparse 1.8 reads; without LayerNormalization, which it knows as the operators that it is made of.
_LEGACY_OPSET = 14

_CALIBRATION_LENGTHS = (8, 16, 32, 64, 128, 384) * 2
_CALIBRATION_ROWS = 2


def pruned_model(
    size: str, pattern: Pruning, sparsity: float = SPARSITY, vocabulary: int | None = None
) -> XLMRobertaForSequenceClassification:
    """The classifier with the linear layers of its encoder pruned by magnitude, ready to be exported.

    Args:
        size: a name of SIZES.
        pattern: which zeros stand together.
        sparsity: share of the encoder's linear weights that are zero.
        vocabulary: number of pieces; that of the size without it.
    """
    settings: dict[str, Any] = {**SIZES[size], "num_labels": 8}
    settings["vocab_size"] = vocabulary or settings["vocab_size"]
    config = XLMRobertaConfig(
        **settings,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=PADDING,
        bos_token_id=0,
        eos_token_id=2,
        initializer_range=0.05,
    )
    torch.manual_seed(0)
    model = XLMRobertaForSequenceClassification(config)
    model.eval()
    if not sparsity:
        return model
    weights = prunable_weights(model)
    everything: Masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    apply_masks(weights, select_masks(magnitude_scores(weights, everything), sparsity, "layer", pattern))
    return model


def calibration_batches(vocabulary: int) -> Iterator[Inputs]:
    """Batches for static quantization, none of which is measured.

    Of several lengths: the fewer tokens share it, the larger is the attention that one gets.
    """
    for seed, length in enumerate(_CALIBRATION_LENGTHS, start=1):
        yield random_inputs(vocabulary, _CALIBRATION_ROWS, length, seed)


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """`calibration_batches` as onnxruntime wants them."""

    def __init__(self, vocabulary: int) -> None:
        self._batches = calibration_batches(vocabulary)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


def build(folder: Path, size: str, shapes: Sequence[tuple[int, int | str]], engines: Sequence[Engine]) -> None:
    """Make what is missing of the engines' files, and of the references for batches of `shapes`, (rows, length)."""
    vocabulary = SIZES[size]["vocab_size"]
    (folder / "shape.json").write_text(json.dumps(SIZES[size]), encoding="utf-8")
    _make(folder / "calibration.npz", partial(_write_calibration, vocabulary))
    for weights in dict.fromkeys(engine.weights for engine in engines):
        own = [engine for engine in engines if engine.weights == weights]
        _build_weights(folder, size, weights, shapes, own)
    blocks, legacy = folder / f"dense-{INT8.name}.onnx", folder / f"legacy-{INT8.name}.onnx"
    quantizers: dict[str, Callable[[Path], None]] = {
        "ort-int8": partial(quantize_dynamic, blocks),
        "ort-int8-static": partial(_quantize_static, blocks, vocabulary),
        "deepsparse-int8": partial(_quantize_for_deepsparse, legacy, vocabulary),
    }
    for engine in engines:
        if quantize := quantizers.get(engine.name):
            _make(folder / engine.file, quantize)


def _build_weights(
    folder: Path, size: str, weights: Weights, shapes: Sequence[tuple[int, int | str]], engines: Sequence[Engine]
) -> None:
    """What needs torch: the exports of a pruned model, and its logits. The model ends with the function."""
    model = cache(partial(pruned_model, size, weights.pattern, weights.percent / 100))
    for rows, length in shapes:
        target = reference_file(folder, weights, rows, length)
        _make(target, lambda target, rows=rows, length=length: _write_reference(model(), rows, length, target))  # type: ignore[misc]
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        # The peers' files stay; ours need theirs once.
        dense = Path(folder if weights in (FP32, INT8) else temporary, f"dense-{weights.name}.onnx")
        missing = [engine for engine in engines if engine.operators and not (folder / engine.file).exists()]
        if dense.parent == folder or missing:
            _make(dense, lambda target: export_torch(model(), target, input_names=INPUTS))
        if dense.parent == folder:
            _make(folder / f"legacy-{weights.name}.onnx", lambda target: _export_legacy(model(), target))
        for engine in missing:
            precision: Precision = "int8" if weights.pattern == "1x4" else "fp32"
            _make(folder / engine.file, partial(_encode, dense, precision))


def _encode(source: Path, precision: Precision, target: Path) -> None:
    encode_model(source, target, encoding="kernel", precision=precision, metadata={})


def _make(target: Path, make: Callable[[Path], None]) -> None:
    """Write a file that is missing; under another name first, so that a build that was cut leaves none by its name."""
    if not target.exists():
        unfinished = target.with_name(f"unfinished-{target.name}")
        make(unfinished)
        unfinished.replace(target)


def _export_legacy(model: XLMRobertaForSequenceClassification, target: Path) -> None:
    """The tracing exporter's graph, in operators that DeepSparse knows: attention is MatMul, Softmax, MatMul.

    Traced for one shape instead, so that the shapes are constants, it ran no faster there.
    """
    implementation = model.config._attn_implementation
    model.set_attn_implementation("eager")
    example = torch.full((2, 16), SPECIAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (example, torch.ones_like(example)),
            target,
            dynamo=False,
            opset_version=_LEGACY_OPSET,
            input_names=list(INPUTS),
            output_names=["logits"],
            dynamic_axes={name: {0: "batch", 1: "sequence"} for name in INPUTS},
        )
    model.set_attn_implementation(implementation)


def _quantize_static(source: Path, vocabulary: int, target: Path) -> None:
    """onnxruntime's static int8 with its documented settings for x86 CPUs: QDQ, one scale for each output."""
    quantize_static(
        source,
        target,
        _Calibration(vocabulary),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["MatMul", "Gemm"],
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        calibrate_method=CalibrationMethod.MinMax,
    )


def _quantize_for_deepsparse(source: Path, vocabulary: int, target: Path) -> None:
    """MatMul in int8 only, attention's two included: what DeepSparse runs in int8.

    With one scale for each output (per_channel) it took twice as long: DeepSparse leaves those products to others.
    """
    quantize_static(
        source,
        target,
        _Calibration(vocabulary),
        quant_format=QuantFormat.QOperator,
        op_types_to_quantize=["MatMul"],
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
    )


def _write_calibration(vocabulary: int, target: Path) -> None:
    """The same batches for NNCF, which has an environment of its own."""
    with target.open("wb") as file:
        np.savez(file, *(batch["input_ids"] for batch in calibration_batches(vocabulary)))


def _write_reference(model: XLMRobertaForSequenceClassification, rows: int, length: int | str, target: Path) -> None:
    inputs = batch_inputs(model.config.vocab_size, rows, length, seed=0)
    with torch.no_grad():
        logits = model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits
    with target.open("wb") as file:
        np.savez(file, **inputs, logits=logits.numpy())  # type: ignore[arg-type]  # its stub


def read_shape(text: str) -> tuple[int, int | str]:
    """Read "32x128" or "32xsst2": rows, and the tokens of each or the distribution of theirs.

    Raises:
        ValueError: it is neither.
    """
    rows, _, length = text.partition("x")
    if length in QUANTILES:
        return int(rows), length
    return int(rows), int(length)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--shape", type=read_shape, action="append", required=True)
    parser.add_argument("--engine", choices=ENGINES, action="append", required=True)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    build(given.folder, given.size, given.shape, [ENGINES[name] for name in given.engine])


if __name__ == "__main__":
    main()
