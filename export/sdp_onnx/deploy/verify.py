"""Verify an exported file: its logits against torch's, and its zeros."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdp_onnx.errors import ModelRunError, VerificationError
from sdp_onnx.model.model_file import load_structure, stored_tensors
from sdp_onnx.operators.kernel_weights import kernel_weights
from sdp_onnx.runtimes.base import Provider
from sdp_onnx.runtimes.registry import default_runtime

NOT_TO_SHIP = "The file is not a faithful copy of the model: do not ship it. Export it again from the same weights."


@dataclass(frozen=True)
class Agreement:
    """The agreement of a file's logits with the expected logits.

    Attributes:
        batches: number of batches compared.
        rows: number of rows in them.
        relative_error: the largest difference of any batch, relative to the largest logit of all.
        worst_shape: shape [batch, sequence] of the input_ids of that batch (of its first input without input_ids).
        tolerance: the allowed error.
    """

    batches: int
    rows: int
    relative_error: float
    worst_shape: tuple[int, ...]
    tolerance: float


def relative_error(expected: NDArray[Any], actual: NDArray[Any], scale: float | None = None) -> float:
    """Return the largest absolute difference divided by the largest absolute expected value, or by `scale`.

    Infinite when the shapes differ, when a value is NaN or infinite, or when only zeros are expected and others occur.
    """
    if expected.shape != actual.shape or not (np.isfinite(expected).all() and np.isfinite(actual).all()):
        return math.inf
    difference = float(np.max(np.abs(expected.astype(np.float64) - actual), initial=0.0))
    scale = largest(expected) if scale is None else scale
    if difference == 0.0:
        return 0.0
    return difference / scale if scale > 0.0 else math.inf


def largest(values: NDArray[Any]) -> float:
    """Return the largest absolute value among the finite ones, 0 without any."""
    return float(np.max(np.abs(values[np.isfinite(values)]), initial=0.0))


def logits_error(
    expected: NDArray[Any],
    actual: NDArray[Any],
    attention_mask: NDArray[np.int64] | None,
    scale: float | None = None,
) -> float:
    """Return the `relative_error` of logits, [B, C] or for tokens [B, L, C] without padding.

    Args:
        expected, actual: the logits.
        attention_mask: 1 where there is a token, [B, L]; None where the model has no such input.
        scale: what the difference is relative to; the largest expected logit without it.
    """
    if attention_mask is not None and expected.ndim == 3 and expected.shape == actual.shape:
        expected, actual = expected[attention_mask == 1], actual[attention_mask == 1]
    return relative_error(expected, actual, scale)


def verify_logits(
    model: Path,
    batches: Iterable[tuple[dict[str, NDArray[Any]], NDArray[Any]]],
    *,
    tolerance: float,
    provider: Provider = "cpu",
    threads: int | None = None,
    hint: str = NOT_TO_SHIP,
) -> Agreement:
    """Run a file on batches of (inputs by name [batch, sequence], expected logits) and compare its first output.

    Differences are relative to the largest expected logit of all batches: in a batch of one row, at the border between
    two classes, all of them may be next to nothing.

    Args:
        model: the ONNX file.
        batches: inputs and logits.
        tolerance: the largest difference allowed.
        provider, threads: where the file runs.
        hint: of the error where logits differ too much.

    Raises:
        VerificationError: the file fails at a batch, one differs by more than `tolerance`, or
            there is none.
        ModelFileError, ProviderError: the file cannot be loaded.
    """
    runtime = default_runtime()
    loaded = runtime.load(model, provider=provider, threads=threads)
    compared: list[tuple[NDArray[Any], NDArray[Any], NDArray[np.int64] | None, tuple[int, ...]]] = []
    for inputs, logits in batches:
        leading = inputs.get("input_ids", next(iter(inputs.values())))
        try:
            actual = loaded.run(inputs)
        except ModelRunError as error:
            reason = error.reason.splitlines()[0]
            what = f"{runtime.name} cannot run the file on a batch of shape {list(leading.shape)}: {reason}"
            raise VerificationError(what, where=str(model), hint=NOT_TO_SHIP) from error
        compared.append((logits, actual, inputs.get("attention_mask"), leading.shape))
    if not compared:
        raise VerificationError("no batch was compared", where=str(model), hint="Give at least one batch of inputs.")
    scale = max(largest(logits) for logits, *_ in compared)
    errors = [(logits_error(logits, actual, mask, scale), shape) for logits, actual, mask, shape in compared]
    worst, shape = max(errors, key=lambda entry: entry[0])
    # The form of the comparison also rejects NaN.
    if not worst <= tolerance:
        raise VerificationError(
            f"the logits differ from torch by {worst:.3g} of the largest, and {tolerance:.3g} is allowed; "
            f"worst is the batch of shape {list(shape)}",
            where=str(model),
            hint=hint,
        )
    return Agreement(len(errors), sum(own[0] for _, own in errors), worst, shape, tolerance)


def zeros_by_tensor(path: Path) -> dict[str, tuple[int, int]]:
    """Count zeros and elements of each initializer of a file, dense or COO, and of each parameter inside an operator of
    the library, from the content of the file.

    Raises:
        ModelFileError: the file is missing or damaged.
    """
    model = load_structure(path)
    initializers = {stored.name: stored for stored in stored_tensors(model, path)}
    records = (stored.record() for stored in initializers.values())
    counts = {record.name: (record.zeros, record.elements) for record in records}
    for name, weight in kernel_weights(model, initializers):
        counts[name] = (int(weight.size - np.count_nonzero(weight)), int(weight.size))
    return counts
