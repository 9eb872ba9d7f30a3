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

_NOT_TO_SHIP = "The file is not a faithful copy of the model: do not ship it. Export it again from the same weights."


@dataclass(frozen=True)
class Agreement:
    """The agreement of a file's logits with the expected logits.

    Attributes:
        batches: number of batches compared.
        rows: number of rows in them.
        relative_error: the largest `relative_error` of any batch.
        worst_shape: shape [batch, sequence] of the input_ids of that batch (of its first input without input_ids).
        tolerance: the allowed error.
    """

    batches: int
    rows: int
    relative_error: float
    worst_shape: tuple[int, ...]
    tolerance: float


def relative_error(expected: NDArray[Any], actual: NDArray[Any]) -> float:
    """Return the largest absolute difference divided by the largest absolute expected value.

    Infinite when the shapes differ, when a value is NaN or infinite, or when only zeros are expected and others occur.
    """
    if expected.shape != actual.shape or not (np.isfinite(expected).all() and np.isfinite(actual).all()):
        return math.inf
    difference = float(np.max(np.abs(expected.astype(np.float64) - actual), initial=0.0))
    scale = float(np.max(np.abs(expected), initial=0.0))
    if difference == 0.0:
        return 0.0
    return difference / scale if scale > 0.0 else math.inf


def logits_error(expected: NDArray[Any], actual: NDArray[Any], attention_mask: NDArray[np.int64] | None) -> float:
    """Return the `relative_error` of logits, [B, C] or for tokens [B, L, C] without padding.

    Args:
        expected, actual: the logits.
        attention_mask: 1 where there is a token, [B, L]; None where the model has no such input.
    """
    if attention_mask is not None and expected.ndim == 3 and expected.shape == actual.shape:
        expected, actual = expected[attention_mask == 1], actual[attention_mask == 1]
    return relative_error(expected, actual)


def verify_logits(
    model: Path,
    batches: Iterable[tuple[dict[str, NDArray[Any]], NDArray[Any]]],
    *,
    tolerance: float,
    provider: Provider = "cpu",
    threads: int | None = None,
) -> Agreement:
    """Run a file on batches of (inputs by name [batch, sequence], expected logits) and compare its first output.

    Args:
        model: the ONNX file.
        batches: inputs and logits.
        tolerance: the largest difference allowed.
        provider, threads: where the file runs.

    Raises:
        VerificationError: the file fails at a batch, one differs by more than `tolerance` (see `logits_error`), or
            there is none.
        ModelFileError, ProviderError: the file cannot be loaded.
    """
    runtime = default_runtime()
    loaded = runtime.load(model, provider=provider, threads=threads)
    errors: list[tuple[float, tuple[int, ...], int]] = []
    for inputs, logits in batches:
        leading = inputs.get("input_ids", next(iter(inputs.values())))
        try:
            actual = loaded.run(inputs)
        except ModelRunError as error:
            reason = error.reason.splitlines()[0]
            what = f"{runtime.name} cannot run the file on a batch of shape {list(leading.shape)}: {reason}"
            raise VerificationError(what, where=str(model), hint=_NOT_TO_SHIP) from error
        errors.append((logits_error(logits, actual, inputs.get("attention_mask")), leading.shape, leading.shape[0]))
    if not errors:
        raise VerificationError("no batch was compared", where=str(model), hint="Give at least one batch of inputs.")
    worst, shape, _ = max(errors, key=lambda entry: entry[0])
    # The form of the comparison also rejects NaN.
    if not worst <= tolerance:
        raise VerificationError(
            f"the logits differ from torch by {worst:.3g} of the largest, and {tolerance:.3g} is allowed; "
            f"worst is the batch of shape {list(shape)}",
            where=str(model),
            hint=_NOT_TO_SHIP,
        )
    return Agreement(len(errors), sum(rows for _, _, rows in errors), worst, shape, tolerance)


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
