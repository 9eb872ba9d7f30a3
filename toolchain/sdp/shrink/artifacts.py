"""shrink.json: what became of a model file."""

from __future__ import annotations

from typing import ClassVar

from sdp.pipeline.artifacts.base import Count, NotNegative, Positive, Share, Stored, StoredFile
from sdp_onnx.bench.interval import Interval


class Agreement(Stored):
    """How the outputs of the new file differ from those of the original on rows that it was not fitted to.

    Attributes:
        rows: their number.
        same_predictions: share of rows with the same largest logit; absent where the output is no logits.
        cosine: mean cosine of the output vectors of both, of the real tokens where there is one for each.
        relative_difference: norm of the difference as a share of the norm of the original's output.
    """

    rows: Count
    same_predictions: Share | None = None
    cosine: float
    relative_difference: float


class ShrinkReport(StoredFile):
    """What was done with a file, and what it is now.

    Attributes:
        model: name of the original file.
        sparsity, pattern, precision: as asked for.
        measured_rows: that the layers were refitted on.
        layers: matrices that were pruned.
        zeros: share of zeros in them.
        agreement: with the original file.
        original_bytes, bytes: of the files.
        threads: of the benchmark.
        original_ms, ms: p50 of one row.
        speedup: of the new file.
        quiet: whether the machine was quiet enough.
    """

    FILE: ClassVar[str] = "shrink.json"

    model: str
    sparsity: Share
    pattern: str
    precision: str
    measured_rows: Count
    layers: NotNegative
    zeros: Share
    agreement: Agreement
    original_bytes: Count
    bytes: Count
    threads: Count
    original_ms: Positive
    ms: Positive
    speedup: Interval
    quiet: bool
